"""A backend without machines: its jobs end at once, or when they are let."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from tesp.backends import Capacity, Ended, Job, Seen
from tesp.errors import BackendUnavailable
from tesp.runner.plan import FINISHED, ExecutorResult, Plan, Progress, Result, Runtime
from tesp.staging.directory import DirectoryWorkspace
from tesp.tes.needs import Needs


class ScriptedBackend:
    """`down` tells why it is out of reach; `forgets` so many jobs before they start; `submitted`
    counts the starts of each handle, `checks` how often it was asked, `closed` how often it was
    let go."""

    def __init__(self, name: str, root: Path, slots: int = 100) -> None:
        self.name = name
        self.remote = True
        self.sees_shared_roots = False
        self.down: str | None = None
        self.submitted: Counter[str] = Counter()
        self.cleaned: list[str] = []
        self.checks = self.closed = self.forgets = 0
        self.go_on = asyncio.Event()
        self.go_on.set()
        self._root = root
        self._slots = slots

    def _reach(self) -> None:
        if self.down is not None:
            raise BackendUnavailable(self.down)

    async def check(self) -> None:
        self.checks += 1
        self._reach()

    def capacity(self) -> Capacity:
        return Capacity(self._slots, math.inf, 10**15)

    def runtime(self) -> Runtime:
        return Runtime("sandbox", "bwrap")

    async def prepare(self, handle: str, epoch: int, needs: Needs) -> Job:
        self._reach()
        place = self._root / f"{self.name}-{handle}.{epoch}"
        place.mkdir(parents=True)
        return Job(handle, str(place))

    def workspace(self, job: Job) -> DirectoryWorkspace:
        return DirectoryWorkspace(Path(job.place))

    async def submit(self, job: Job, plan: Plan) -> None:
        self._reach()
        self.submitted[job.handle] += 1

    async def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        if self.forgets:
            self.forgets -= 1
            yield Ended(None, "The job was lost.", started=False, forgotten=True)
            return
        yield Seen(Progress(running=0, started=1.0))
        await self.go_on.wait()
        yield Ended(Result(job.handle, FINISHED, [ExecutorResult(1.0, 2.0, 0)]))

    async def cancel(self, job: Job) -> None:
        self._reach()

    async def clean(self, job: Job) -> None:
        self._reach()
        self.cleaned.append(job.handle)

    async def close(self) -> None:
        self.closed += 1
