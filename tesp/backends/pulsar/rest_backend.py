"""Jobs on a Pulsar that is reached over REST."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial

from tesp.backends import Capacity, Ended, Job, Seen, package
from tesp.backends.pulsar import command, wire
from tesp.backends.pulsar.closing import Closing
from tesp.backends.pulsar.polling import Polling
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.small_jobs import SmallJobs
from tesp.backends.pulsar.watching import Start, Watching
from tesp.backends.pulsar.wire import Name
from tesp.backends.pulsar.workspace import PulsarWorkspace
from tesp.errors import BackendError, BackendRefused
from tesp.runner.plan import Plan, Runtime
from tesp.settings import PulsarSettings
from tesp.tes.needs import Needs

SILENCE_SECONDS = 60.0
_TRANSFERS_AT_ONCE = 2
_SWEEP_SECONDS = (1.0, 5.0, 30.0)
# Where an attempt was staged before, under an older epoch: so many of those are removed.
_OLD_EPOCHS = 4


class RestPulsar:
    """One Pulsar over REST. Any process can follow any job of it.

    A job that shows no sign of life for `silence_seconds`, while Pulsar answers, is dead.
    """

    def __init__(
        self,
        settings: PulsarSettings,
        runtime: Runtime,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        assert settings.url, "a Pulsar over REST has a url"
        self.name = settings.name
        self.remote = True
        self.sees_shared_roots = settings.shares_files
        self._settings = settings
        self._runtime = runtime
        self._silence_seconds = silence_seconds
        self._client = RestPulsarClient(settings.name, settings.url, settings.token)
        # Who is asked how a job stands.
        self._teller = self._client
        self._polling = Polling(longest_seconds=settings.poll_seconds)
        self._transfers = asyncio.Semaphore(_TRANSFERS_AT_ONCE)
        self._jobs = SmallJobs(settings, self._client)
        self._closing = Closing(settings.name, self._client, self._jobs)
        self._untouched: set[str] = set()
        self._submitted: dict[str, Start] = {}
        self._over: set[str] = set()
        self._broken: set[str] = set()
        self._sweeps: set[asyncio.Task[None]] = set()
        self._starting: dict[str, asyncio.Task[None]] = {}

    def capacity(self) -> Capacity:
        """What the settings give to all tasks together."""
        return wire.capacity_of(self._settings.limits)

    def runtime(self) -> Runtime:
        """How containers are started on its nodes."""
        return self._runtime

    async def check(self) -> None:
        """See that it answers, takes our token, and has the managers of the settings."""
        for manager in wire.managers_of(self._settings):
            await self._client.check(manager)

    async def prepare(self, handle: str, epoch: int, needs: Needs) -> Job:
        """An empty directory, named by the epoch: whoever staged before writes elsewhere."""
        manager = wire.manager_for(self._settings, needs)
        job = Name.of(manager, handle, epoch)
        try:
            for old in range(max(1, epoch - _OLD_EPOCHS), epoch + 1):
                await self._client.delete(Name.of(manager, handle, old))
            await self._client.set_up(job)
        except BaseException:
            # Left in the middle, it may be made yet, and nobody would know of it.
            self._sweep_later(job)
            raise
        self._untouched.add(job.place)
        return Job(handle, job.place)

    def workspace(self, job: Job) -> PulsarWorkspace | None:
        """Its files over REST, unless the node is to move them."""
        if self._settings.staging == "node":
            return None
        return self._files(Name.at(job.place))

    def _files(self, job: Name) -> PulsarWorkspace:
        return PulsarWorkspace(self._client, job, self._transfers, self._broken)

    async def submit(self, job: Job, plan: Plan) -> None:
        """Bring the runner with its plan, and start it."""
        name = Name.at(job.place)
        archive = await self._archive(name)
        if archive is None:
            return
        await self._files(name).bring(archive, once(package.with_plan(plan)))
        line = command.run_line(self._settings.python, archive)
        params = wire.submit_params(self._settings, plan.limits)
        again = partial(self._start, name, line, params)
        starting = asyncio.create_task(again())
        self._starting[job.place] = starting
        # Canceled meanwhile, Pulsar would leave it in the queue that it is just putting it into.
        await asyncio.shield(starting)
        self._submitted[job.place] = again

    async def _settled(self, job: Job) -> None:
        """Wait until a start has come through that nobody waits for any more."""
        starting = self._starting.pop(job.place, None)
        if starting:
            await asyncio.gather(starting, return_exceptions=True)

    async def _start(self, job: Name, line: str, params: Mapping[str, str]) -> None:
        """Have Pulsar start it."""
        await self._client.submit(job, line, params)

    async def _archive(self, job: Name) -> str | None:
        """The file to bring the runner in; None where the job was started before.

        A start that was not heard of may yet happen: what it reads is never written again. And
        one that is in a queue may have been forgotten there.
        """
        if job.place in self._untouched:
            self._untouched.discard(job.place)
            return wire.ARCHIVE
        status = await self._client.status(job)
        if status and status.gone:
            raise BackendRefused(f"The Pulsar {self.name} has lost the job before its start.")
        if status and status.state not in (wire.PREPROCESSING, wire.QUEUED):
            return None
        return f"runner-{secrets.token_hex(4)}.pyz"

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Look at a job in its turn; while Pulsar is out of reach, wait for it."""
        clock = asyncio.get_running_loop().time
        again = self._submitted.get(job.place)
        watching = self._watching(Name.at(job.place), again)
        if again is None:
            watching.suspect()
        async with self._polling.followed():
            due = clock()
            while True:
                due = await self._until_due(job, due)
                try:
                    async with self._polling.turn(due):
                        seen = await watching.look()
                except BackendError as error:
                    # Refused, too: the job runs, whatever has become of token and manager.
                    seen = watching.out_of_reach(error, self._settings.give_up_seconds)
                if isinstance(seen, Ended):
                    self._submitted.pop(job.place, None)
                    if watching.over:
                        self._over.add(job.place)
                    yield await watching.explained(seen)
                    return
                if seen:
                    yield seen
                due = clock() + watching.pause()

    async def _until_due(self, job: Job, due: float) -> float:
        """Wait until a job is to be looked at; gives the time that was due."""
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        return due

    def _watching(self, job: Name, again: Start | None) -> Watching:
        silence, polling = self._silence_seconds, self._polling
        return Watching(self._teller, self._jobs, job, self.name, silence, polling, again)

    async def cancel(self, job: Job) -> None:
        """Ask the runner to end; kill it where it does not; then see that nothing is left."""
        await self._settled(job)
        await self._closing.cancel(Name.at(job.place))

    async def clean(self, job: Job) -> None:
        """Remove the directory, and see that it is gone."""
        await self._settled(job)
        self._untouched.discard(job.place)
        await self._closing.clean(Name.at(job.place), over=job.place in self._over)
        self._over.discard(job.place)
        if job.place in self._broken:
            self._broken.discard(job.place)
            self._sweep_later(Name.at(job.place))

    def _sweep_later(self, job: Name) -> None:
        sweep = asyncio.get_running_loop().create_task(self._sweep(job))
        self._sweeps.add(sweep)
        sweep.add_done_callback(self._sweeps.discard)

    async def _sweep(self, job: Name) -> None:
        """Remove what a request that was left in the middle makes anew: Pulsar may begin with it
        only after the directory has gone."""
        for seconds in _SWEEP_SECONDS:
            await asyncio.sleep(seconds)
            with suppress(BackendError):
                await self._client.delete(job)

    async def close(self) -> None:
        """Jobs go on."""
        for sweep in self._sweeps:
            sweep.cancel()
        await self._client.close()
