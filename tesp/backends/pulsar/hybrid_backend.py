"""Jobs on a Pulsar that is reached over both: jobs and updates over AMQP, files over REST."""

import asyncio
from collections.abc import AsyncIterator

from tesp.backends import Ended, Job, Seen, package
from tesp.backends.pulsar import command, wire
from tesp.backends.pulsar.amqp_backend import broker_of, managers_used
from tesp.backends.pulsar.messages import Staging
from tesp.backends.pulsar.requests import Requests
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.rest_backend import SILENCE_SECONDS, RestPulsar
from tesp.backends.pulsar.updates import Updates
from tesp.backends.pulsar.watching import Watching
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendUnavailable
from tesp.runner.plan import Plan, Runtime
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
        self._told = ToldClient(settings)

    async def check(self) -> None:
        """See that both ways are open, that Pulsar takes jobs, and that we hear of them."""
        await super().check()
        await self._requests.check(managers_used(self._settings), self._silence_seconds)

    async def submit(self, job: Job, plan: Plan) -> None:
        """Bring the runner with its plan, and have it started."""
        name = Name.at(job.place)
        archive = await self._archive(name)
        if archive is None:
            return
        await self._client.write(name, archive, once(package.with_plan(plan)))
        line = command.run_line(self._settings.python, archive)
        params = wire.submit_params(self._settings, plan.limits)
        self._updates.expect(name.id, begins=True)
        await self._requests.run(name, line, params, Staging(), makes_directory=False)
        self._submitted.add(job.place)

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Look at a job when an update came, and now and then at its files."""
        clock = asyncio.get_running_loop().time
        name = Name.at(job.place)
        watching = Watching(self._told, self._jobs, name, self.name, self._silence_seconds)
        if job.place not in self._submitted:
            watching.suspect()
        due = clock()
        with self._updates.follow(name.id) as news:
            async with self._polling.followed():
                while True:
                    update = await news.next(max(0.0, due - clock()))
                    if update is not None:
                        self._told.tell(name, update)
                    elif clock() < due:
                        self._told.doubt(name)
                    try:
                        async with self._polling.turn(clock()):
                            seen = await watching.look()
                    except BackendUnavailable as error:
                        self._told.doubt(name)
                        seen = watching.out_of_reach(error, self._settings.give_up_seconds)
                    if seen:
                        yield seen
                    if isinstance(seen, Ended):
                        self._submitted.discard(job.place)
                        return
                    pause = watching.pause(self._polling)
                    due = clock() + max(_SHORTEST_PAUSE_SECONDS, pause)

    async def clean(self, job: Job) -> None:
        """Remove the directory, and see that it is gone."""
        name = Name.at(job.place)
        await super().clean(job)
        self._updates.forget(name.id)
        self._told.doubt(name)

    async def close(self) -> None:
        """Listen no more; jobs go on."""
        await self._broker.close()
        await self._told.close()
        await super().close()
