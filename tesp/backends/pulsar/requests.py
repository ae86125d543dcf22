"""What is asked of a Pulsar by messages."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence

from tesp.backends.pulsar import messages, wire
from tesp.backends.pulsar.amqp import Broker
from tesp.backends.pulsar.messages import Staging
from tesp.backends.pulsar.updates import News, Updates
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendUnavailable
from tesp.settings import PulsarSettings

_ANSWER_SECONDS = 30.0
_PING_SECONDS = 10.0
_ASK_SECONDS = 2.0
# Nobody waits for the answer to an old question: Pulsar need not find them when it comes back.
_QUESTION_SECONDS = 60.0


class Requests:
    """The messages to one Pulsar. Raises BackendUnavailable where there is no broker, or, where
    an answer is waited for, no Pulsar."""

    def __init__(self, settings: PulsarSettings, broker: Broker, updates: Updates) -> None:
        self._settings, self._broker, self._updates = settings, broker, updates

    async def run(
        self,
        job: Name,
        line: str,
        params: Mapping[str, str],
        staging: Staging,
        *,
        makes_directory: bool = True,
        lifetime_seconds: float | None = None,
    ) -> None:
        """Have a job run, as soon as its Pulsar is there."""
        body = messages.setup(job, line, params, staging, makes_directory=makes_directory)
        await self._publish(job.manager, messages.SETUP, body, lifetime_seconds)

    async def ask(self, job: Name) -> None:
        """Have an update sent."""
        body = messages.status(job)
        await self._publish(job.manager, messages.STATUS, body, _QUESTION_SECONDS)

    async def kill(self, job: Name) -> None:
        """Have a job killed, or taken out of the queue."""
        await self._publish(job.manager, messages.KILL, messages.kill(job))

    async def check(self, managers: Sequence[str], silence_seconds: float) -> None:
        """See that we listen, and that Pulsar takes jobs. One that has said nothing for long is
        asked about a job that there is not: the broker believes in one that is gone for long."""
        await self._broker.listen()
        for manager in managers:
            await self.find(manager)
        if self._updates.silence() > silence_seconds:
            job = Name(managers[0], f"tesp-check-{secrets.token_hex(6)}")
            with self._updates.follow(job.id) as news:
                await self.ask(job)
                await self._until(
                    news,
                    job,
                    lambda _: True,
                    ask=False,
                    seconds=min(_PING_SECONDS, silence_seconds),
                )

    async def find(self, manager: str) -> None:
        """See that a Pulsar takes jobs for this manager."""
        queue = self._queue(manager, messages.SETUP)
        if not await self._broker.consumers(queue):
            raise BackendUnavailable(
                f"The Pulsar {self._settings.name} is out of reach: none takes jobs from the "
                f"queue {queue}. It is not running, has no such manager, or has stopped to listen."
            )

    async def fence(self, manager: str) -> None:
        """Wait until all setups that were sent before this have been taken."""
        job = Name(manager, f"tesp-fence-{secrets.token_hex(6)}")
        await self.find(manager)
        with self._updates.follow(job.id) as news:
            body = messages.fence(job.id)
            await self._publish(manager, messages.SETUP, body, _QUESTION_SECONDS)
            await self._until(news, job, lambda status: status.state == wire.FAILED, ask=False)

    async def standing(self, job: Name, news: News) -> Status:
        """How a job stands now, whether or not its setup had been taken before."""
        if not self._updates.knows(job.id):
            await self.fence(job.manager)
        news.drop()
        await self.find(job.manager)
        await self.ask(job)
        return await self._until(news, job, lambda status: True, ask=True)

    async def _until(
        self,
        news: News,
        job: Name,
        is_it: Callable[[Status], bool],
        *,
        ask: bool,
        seconds: float = _ANSWER_SECONDS,
    ) -> Status:
        try:
            async with asyncio.timeout(seconds):
                while True:
                    status = await news.next(_ASK_SECONDS)
                    if status and is_it(status):
                        return status
                    if status is None and ask:
                        await self.ask(job)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"The Pulsar {self._settings.name} gave no answer within {seconds:g} s."
            ) from error

    async def _publish(
        self, manager: str, queue: str, body: bytes, lifetime_seconds: float | None = None
    ) -> None:
        await self._broker.publish(self._queue(manager, queue), body, lifetime_seconds)

    def _queue(self, manager: str, queue: str) -> str:
        return messages.queue_name(manager, queue, self._settings.amqp_key_prefix)
