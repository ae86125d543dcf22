"""Jobs on a Pulsar that is reached over both: jobs and updates over AMQP, files over REST."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from tesp.backends import Ended, Job, Seen
from tesp.backends.pulsar import wire
from tesp.backends.pulsar.amqp_backend import broker_of, managers_used
from tesp.backends.pulsar.messages import Staging
from tesp.backends.pulsar.requests import Requests
from tesp.backends.pulsar.rest import RestPulsarClient
from tesp.backends.pulsar.rest_backend import SILENCE_SECONDS, RestPulsar
from tesp.backends.pulsar.updates import News, Updates
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendError
from tesp.runner.plan import Runtime
from tesp.settings import PulsarSettings

_OVERDUE_SECONDS = 30.0
# An update ends the pause: in between there are only files to look at.
_SHORTEST_PAUSE_SECONDS = 0.25


class ToldClient(RestPulsarClient):
    """Knows how jobs stand by what was told; asks only where that is overdue, or in doubt."""

    def __init__(self, settings: PulsarSettings) -> None:
        assert settings.url, "a Pulsar over REST has a url"
        super().__init__(settings.name, settings.url, settings.token)
        self._told: dict[str, tuple[Status, float]] = {}

    def tell(self, job: Name, status: Status) -> None:
        """An update has come."""
        self._told[job.id] = status, asyncio.get_running_loop().time() + _OVERDUE_SECONDS

    def doubt(self, job: Name) -> None:
        """Updates about a job may have been lost."""
        self._told.pop(job.id, None)

    async def status(self, job: Name) -> Status | None:
        """As it was told, unless news is overdue."""
        status, overdue = self._told.get(job.id, (None, 0.0))
        if status is not None and asyncio.get_running_loop().time() < overdue:
            return status
        status = await super().status(job)
        if status is not None:
            self.tell(job, status)
        return status

    async def read(self, job: Name, file: str, longest: int = 8 << 20) -> bytes | None:
        """A small file; where Pulsar is away, what it told is in doubt."""
        try:
            return await super().read(job, file, longest)
        except BackendError:
            self.doubt(job)
            raise


class HybridPulsar(RestPulsar):
    """One Pulsar over AMQP and REST. While updates flow, nobody asks how a job stands."""

    def __init__(
        self,
        settings: PulsarSettings,
        runtime: Runtime,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        super().__init__(settings, runtime, silence_seconds=silence_seconds)
        self._updates = Updates(settings.name)
        self._broker = broker_of(settings, self._updates)
        self._requests = Requests(settings, self._broker, self._updates)
        self._teller = self._told = ToldClient(settings)
        self._news: dict[str, News] = {}

    async def check(self) -> None:
        """See that both ways are open, that Pulsar takes jobs, and that we hear of them."""
        await super().check()
        await self._requests.check(managers_used(self._settings), self._silence_seconds)

    async def _start(self, job: Name, line: str, params: Mapping[str, str]) -> None:
        """By a message; its directory is there already."""
        self._updates.expect(job.id, begins=True)
        await self._requests.run(job, line, params, Staging(), makes_directory=False)

    async def _settled(self, job: Job) -> None:
        """Pulsar takes one message after the other: behind the next, it has put into a queue what
        it is just putting there, and can take it out again."""
        await super()._settled(job)
        if job.place in self._over:
            return
        name = Name.at(job.place)
        status = await self._client.status(name)
        if status and status.state == wire.PREPROCESSING:
            await self._requests.fence(name.manager)
            self._told.doubt(name)

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Look at a job when an update came, and now and then at its files."""
        name = Name.at(job.place)
        with self._updates.follow(name.id) as news:
            self._news[name.id] = news
            async for item in super().watch(job):
                yield item

    async def _until_due(self, job: Job, due: float) -> float:
        """An update ends the pause; in between there are only files to look at."""
        name, clock = Name.at(job.place), asyncio.get_running_loop().time
        until = max(due, clock() + _SHORTEST_PAUSE_SECONDS)
        update = await self._news[name.id].next(until - clock())
        if update is not None:
            self._told.tell(name, update)
        elif clock() < until:
            self._told.doubt(name)
        return clock()

    async def clean(self, job: Job) -> None:
        """Remove the directory, and see that it is gone."""
        name = Name.at(job.place)
        await super().clean(job)
        self._updates.forget(name.id)
        self._news.pop(name.id, None)
        self._told.doubt(name)

    async def close(self) -> None:
        """Listen no more; jobs go on."""
        await self._broker.close()
        await self._told.close()
        await super().close()
