"""Work that blocks for long, and must not take the threads that others wait for."""

import asyncio
import contextlib
import threading
from collections.abc import Callable


async def in_own_thread(work: Callable[[], None]) -> None:
    """Do it in a thread of its own; raises what it raises. Who no longer waits leaves it behind:
    the end of the process does not wait for it either."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: Exception | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 - it is raised where it is waited for
            error = raised
        # The loop may have ended meanwhile.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="mail", daemon=True).start()
    await done
