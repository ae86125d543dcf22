"""Backends: where attempts run. Each starts the same runner and reads the same result."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tesp.runner.plan import Plan, Progress, Result, Runtime
from tesp.staging import Workspace
from tesp.tes.needs import Needs


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a backend has for all its tasks together. `slots` bounds the tasks at once."""

    slots: int
    cpus: float
    ram_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """An attempt at a backend: its name there, and where its workspace is.

    `place` is the backend's own text, and all that it needs to find the job again.
    """

    handle: str
    place: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How a running job stands: its progress and its newest tails (`0.stdout` -> bytes)."""

    progress: Progress
    tails: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """The job is over: the runner's result, or None with the reason why there is none.

    `started` tells that the job may have run, for which it is never run again unasked.
    `forgotten`: the backend took it and lost it before it started, so that it is queued again.
    """

    result: Result | None
    reason: str = ""
    started: bool = True
    forgotten: bool = False
    tails: Mapping[str, bytes] = field(default_factory=dict)


class Backend(Protocol):
    """Where attempts run. Raises BackendUnavailable (try again) or BackendRefused (final).

    `remote`: any dispatcher can reach it, so that one at a time leases it and alone polls,
    consumes and counts for it. `sees_shared_roots`: its machines have the shared file roots at
    the same paths.
    """

    name: str
    remote: bool
    sees_shared_roots: bool

    async def check(self) -> None:
        """See that it is there and takes jobs, and listen to it again where that had ended;
        raises BackendUnavailable with the reason. It is called every few seconds."""
        ...

    def capacity(self) -> Capacity:
        """What it has."""
        ...

    def runtime(self) -> Runtime:
        """How containers are started there."""
        ...

    async def prepare(self, handle: str, epoch: int, needs: Needs) -> Job:
        """Make an empty workspace for an attempt that is to be staged."""
        ...

    def workspace(self, job: Job) -> Workspace | None:
        """The files of a job. None: the job's side fetches its inputs and sends its outputs, as
        the plan's `fetches` and `send_url` say, and the result tells what was sent."""
        ...

    async def submit(self, job: Job, plan: Plan) -> None:
        """Start the runner. Safe to call again, also for a job that runs or has ended: the
        runner's claim lets it run once."""
        ...

    def watch(self, job: Job) -> AsyncIterator[Seen | Ended]:
        """Follow a submitted job; the last item is Ended. Works for a job of another process's.

        A backend that is out of reach for a while is waited for."""
        ...

    async def cancel(self, job: Job) -> None:
        """End a job. Returns when its containers are gone, or were never started."""
        ...

    async def clean(self, job: Job) -> None:
        """Remove the workspace and whatever the job left. Safe to call again."""
        ...

    async def close(self) -> None:
        """Let go; running jobs go on."""
        ...
