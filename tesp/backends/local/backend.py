"""Runs jobs on this machine: one runner process a job, in a session of its own."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

from tesp.backends import Capacity, Ended, Job, Seen
from tesp.backends.local.observation import Observation, result_of, runner_of, tails_of
from tesp.backends.local.process import Identity
from tesp.backends.local.starter import Starter
from tesp.errors import BackendError
from tesp.runner.plan import CANCEL_FILE, CLAIM_FILE, PLAN_FILE, Plan, Runtime
from tesp.staging.directory import DirectoryWorkspace
from tesp.tes.needs import Needs

_SHORTEST_POLL_SECONDS = 0.005
_LONGEST_POLL_SECONDS = 0.25
_GRACE_SECONDS = 30.0


class LocalBackend:
    """Jobs as processes of this machine. Any process of this machine can follow any of them."""

    def __init__(
        self, name: str, root: Path, command: Sequence[str], runtime: Runtime, capacity: Capacity
    ) -> None:
        """`root` holds the workspaces; `command` starts the runner."""
        self.name = name
        self.remote = False
        self.sees_shared_roots = True
        self._root = root
        self._command = list(command)
        self._runtime = runtime
        self._capacity = capacity
        self._starter = Starter(command)
        self._runners: dict[str, Identity] = {}

    def capacity(self) -> Capacity:
        """What this machine was given for tasks."""
        return self._capacity

    def runtime(self) -> Runtime:
        """The container runtime that was found."""
        return self._runtime

    async def check(self) -> None:
        """This machine is here."""

    async def prepare(self, handle: str, epoch: int, needs: Needs) -> Job:
        """An empty directory, named by the epoch: whoever staged before writes elsewhere."""
        del needs
        place = self._root / f"{handle}.{epoch}"
        await asyncio.to_thread(self._make, handle, place)
        return Job(handle, str(place))

    def _make(self, handle: str, place: Path) -> None:
        for old in self._root.glob(f"{handle}.*"):
            shutil.rmtree(old, ignore_errors=True)
        place.mkdir(parents=True)

    def workspace(self, job: Job) -> DirectoryWorkspace:
        """The directory itself."""
        return DirectoryWorkspace(Path(job.place))

    async def submit(self, job: Job, plan: Plan) -> None:
        """Start a runner; where one has the job already, the new one sees that and ends."""
        _write_plan(Path(job.place), plan)
        runner = await self._starter.start(job.place)
        if runner is not None:
            self._runners[job.place] = runner

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Look at the workspace: often while the job is young, then less."""
        observation = Observation(Path(job.place))
        started = time.monotonic()
        while True:
            # The order matters: a runner writes its result before it dies.
            alive = self._alive(job)
            if observation.stirred() or not alive:
                if ended := self._ended(job, alive):
                    yield ended
                    return
                if seen := observation.news():
                    yield seen
            age = time.monotonic() - started
            pause = max(_SHORTEST_POLL_SECONDS, min(_LONGEST_POLL_SECONDS, age / 50))
            await asyncio.sleep(pause)

    def _ended(self, job: Job, alive: bool) -> Ended | None:
        place = Path(job.place)
        result = result_of(place)
        if result is not None:
            return Ended(result, tails=tails_of(place))
        if alive:
            return None
        if runner_of(place) is None:
            return Ended(None, "The job was never started.", started=False)
        reason = f"The job's runner on {os.uname().nodename} ended without a result: it was killed."
        return Ended(None, reason, tails=tails_of(place))

    def _alive(self, job: Job) -> bool:
        """Whether the runner lives: the one that was started here, or else who has the claim."""
        runner = self._runners.get(job.place)
        if runner is not None and runner.alive():
            return True
        runner = runner_of(Path(job.place))
        return runner is not None and runner.alive()

    async def cancel(self, job: Job) -> None:
        """Ask the runner to end; kill it where it does not; then see that nothing is left."""
        place = Path(job.place)
        if not place.exists():
            return
        self._forbid_start(place)
        (place / CANCEL_FILE).touch()
        if runner := runner_of(place):
            runner.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._gone(job)
        except TimeoutError:
            if runner := runner_of(place):
                runner.signal(signal.SIGKILL)
            await self._gone(job)
        await self._remove(job)

    def _forbid_start(self, place: Path) -> None:
        """Take the claim, so that a runner that is on its way finds the job taken."""
        with suppress(FileExistsError):
            (place / CLAIM_FILE).touch(exist_ok=False)

    async def _gone(self, job: Job) -> None:
        while self._alive(job):  # noqa: ASYNC110 - another process ends, no event of ours
            await asyncio.sleep(_SHORTEST_POLL_SECONDS)

    async def clean(self, job: Job) -> None:
        """Remove the directory; where no result says that the containers are gone, those first."""
        place = Path(job.place)
        if not place.exists():
            return
        if result_of(place) is None:
            await self.cancel(job)
        try:
            await asyncio.to_thread(shutil.rmtree, place)
        except OSError:
            # Files of the container's own user: the runner removes those through a container.
            await self._remove(job)
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        self._runners.pop(job.place, None)
        if place.exists():
            raise BackendError(f"{place} could not be removed.")

    async def _remove(self, job: Job) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            "remove",
            job.place,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, words = await process.communicate()
        if process.returncode != 0:
            raise BackendError(f"A container could not be removed: {words.decode().strip()[-500:]}")

    async def close(self) -> None:
        """Runners outlive the server."""
        await self._starter.close()


def _write_plan(place: Path, plan: Plan) -> None:
    temporary = place / f"{PLAN_FILE}.new"
    temporary.write_text(json.dumps(plan.to_json()))
    temporary.rename(place / PLAN_FILE)
