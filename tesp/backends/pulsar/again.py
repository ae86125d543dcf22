"""Jobs of ours that a Pulsar could not run just then."""

from collections.abc import Awaitable, Callable

from tesp.backends.pulsar.wire import Status

_TRIES = 3


async def until_run(run: Callable[[], Awaitable[Status]]) -> Status:
    """The last status of a job; of another like it, where its script was in hand, a few times."""
    for _ in range(_TRIES - 1):
        status = await run()
        if not status.not_run:
            return status
    return await run()
