"""The store: tasks, leases, transfers, events, cursors, figures. Each store has all contracts.

Every write is guarded: by the state that it expects (the table in tesp.tes.states), and for
workers by the epoch of their lease. State, event and everything else of one write are stored
together or not at all, and durably before the call returns. Expiry uses the store's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from tesp.store.figures import FigureStore as FigureStore
from tesp.store.figures import Reading as Reading
from tesp.store.figures import Standing as Standing
from tesp.store.holding import HoldStore
from tesp.store.log import CursorStore as CursorStore
from tesp.store.log import EventLog as EventLog
from tesp.store.log import EventStore as EventStore
from tesp.store.log import Logged as Logged
from tesp.tes.needs import Needs as Needs
from tesp.tes.states import State, Transition
from tesp.tes.views import TaskText, Text, View


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The client's key for one creation, with a digest of its body; kept for 24 hours."""

    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class NewTask:
    """A task to store as QUEUED, due after `delay_seconds`. `warnings` go to the first attempt's
    system logs.

    `correlation`, `hops` and `callback` go with each of its events; without a correlation the
    task's id is it.
    """

    id: str
    owner: str
    body: Text
    name: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    needs: Needs = field(default_factory=Needs)
    warnings: tuple[str, ...] = ()
    idempotency: IdempotencyKey | None = None
    correlation: str | None = None
    hops: int = 0
    callback: str | None = None
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskQuery:
    """Which tasks, newest (greatest id) first.

    A tag with value None: the key exists; any other value, the empty one too, is that very
    value. All tags must match. `owner` None: everybody's. `after` is the position that an
    earlier page ended with. `states` lists the stored states that match. `name_prefix` is
    literal (no sign in it is a pattern, case counts); the empty prefix is no filter.
    """

    view: View = View.MINIMAL
    size: int = 256
    after: str | None = None
    owner: str | None = None
    states: frozenset[State] | None = None
    name_prefix: str | None = None
    tags: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Tasks in order; it may be short, even empty, before the last one.

    `next` is None exactly where nothing more can follow. Over all pages no task is repeated
    or lost; a task stored with a greater id than a page's position is on no later page.
    """

    tasks: Sequence[TaskText]
    next: str | None = None


class Cancel(StrEnum):
    """What came of the wish to cancel."""

    ENDED = "ended"  # it was queued and is CANCELED now
    ASKED = "asked"  # it is CANCELING: its worker will end it
    TERMINAL = "terminal"  # it had ended before
    UNKNOWN = "unknown"  # there is no such task


class TaskStore(Protocol):
    """The API's side of the store."""

    async def create(self, task: NewTask) -> str:
        """Store a task with its first event; its id, or the id that the same key made before.

        Keys are per owner. Raises Conflict where the key was used with another body, or where
        there is a task with that id.
        """
        ...

    async def create_many(self, new: Sequence[NewTask]) -> Sequence[str]:
        """As many creations as there are tasks; their ids, in the order of the tasks.

        Each is stored durably with its event. Where one raises Conflict, so does this; then
        some of the others may be stored.
        """
        ...

    async def get(self, task_id: str, view: View) -> TaskText | None:
        """One task; in FULL with the live tails of its running attempt."""
        ...

    async def get_many(self, ids: Sequence[str], view: View) -> Mapping[str, TaskText]:
        """Those of these tasks that there are, by id; each is what `get` gives."""
        ...

    async def page(self, query: TaskQuery) -> Page:
        """A page of tasks, driven by an index, scanning a bounded number of rows.

        A task in it is what `get` gives in that view.
        """
        ...

    async def cancel(self, task_id: str) -> Cancel:
        """Apply Transition.CANCEL. A task that is CANCELING stays so: ASKED again, no event."""
        ...


class Phase(StrEnum):
    """How far an attempt has come; this, not the TES state, drives recovery."""

    STAGING = "staging"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    COLLECTING = "collecting"
    UPLOADING = "uploading"
    CLEANING = "cleaning"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What must be known of an attempt to carry it on after a crash.

    `number` counts from 1. `handle` names the job at the backend, `place` its workspace
    there. `outcome` is the worker's own JSON text: what to end the task with after cleaning.
    """

    number: int
    backend: str
    phase: Phase = Phase.STAGING
    handle: str | None = None
    place: str | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """What a worker shows with each write: the lease's epoch."""

    task_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued task that is due."""

    task_id: str
    owner: str
    needs: Needs
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased attempt: all that a worker needs to begin, or to carry on."""

    fence: Fence
    owner: str
    state: State
    attempt: Attempt
    body: Text
    logs: str  # full text of the TaskLogs so far, or empty
    needs: Needs
    name: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One write of a worker; None leaves a thing as it is.

    A terminal target state, RETRY or REQUEUE ends the lease. RETRY makes the task due again
    after `delay_seconds` with attempt.number + 1; REQUEUE the same with the same number, for an
    attempt that has not started, and its log goes with it, `logs` of this write too. The live
    tails go with the end of an attempt.
    Of `attempt` the phase, handle, place and outcome are stored, and only while the attempt
    goes on: number and backend are what the claim made them. Without a transition there is
    no event, and the write is allowed in every state that has a lease, CANCELING too.
    """

    transition: Transition | None = None
    attempt: Attempt | None = None
    body: Text | None = None
    logs: Text | None = None
    reason: str | None = None
    delay_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a write: the state now, and whether it was applied.

    Not applied with `lost` False: the table has no such transition from `state` (a cancel
    came first); then nothing of the write is stored. `lost` True: the lease has ended or has
    another owner, or the task is gone (state UNKNOWN). A lease that has run out is still its
    owner's until somebody adopts the attempt.
    """

    state: State
    applied: bool
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease after renewal: `lost`, or `canceling` where somebody wants the task ended."""

    fence: Fence
    canceling: bool = False
    lost: bool = False


class LeaseStore(HoldStore, Protocol):
    """The workers' side of the store."""

    async def queued(self, per_owner: int, owners: int = 64) -> Sequence[Candidate]:
        """Tasks that are due: the oldest `per_owner` of each of up to `owners` owners.

        The oldest has been due the longest. Where there are more owners, the owners that were
        left out come first in the next call.
        """
        ...

    async def claim(
        self, task_id: str, backend: str, holder: str, lease_seconds: float
    ) -> Claim | None:
        """Apply Transition.CLAIM with a raised epoch; None where another was faster: the task
        is no longer QUEUED, or not due now. The attempt is of `backend`, in Phase.STAGING."""
        ...

    async def adopt(
        self, backends: Sequence[str], holder: str, lease_seconds: float, limit: int = 64
    ) -> Sequence[Claim]:
        """Take over attempts on these backends whose lease has run out, with a raised epoch.

        They are INITIALIZING, RUNNING or CANCELING; state and attempt stay as they are, and
        there is no event.
        """
        ...

    async def stranded(self) -> Sequence[str]:
        """The backends that have attempts whose lease has run out, each once."""
        ...

    async def renew(self, fences: Sequence[Fence], lease_seconds: float) -> Sequence[Renewal]:
        """Prolong leases; brings back the wish to cancel. Never rewrites a document.

        One Renewal a fence, in the order of the fences.
        """
        ...

    async def write(self, fence: Fence, change: Change) -> Written:
        """One guarded write with its event."""
        ...

    async def tail(self, fence: Fence, tails: Mapping[str, str]) -> None:
        """Replace the live tails (`executor.0.stdout` -> text); not durable, may be lost.

        They replace all earlier ones. Those of a worker that lost its lease are dropped.
        """
        ...

    async def changed(self, timeout_seconds: float) -> bool:
        """Wait until tasks may have been queued or canceled since the last call; False at the
        timeout. Tens of milliseconds after the change at the most.

        A task that becomes due after a RETRY and an attempt that ends (there is room again)
        count too. One caller a store object: a change that one call told of is told to no
        other. The first call tells of the work that was there at the opening."""
        ...


@dataclass(frozen=True, slots=True)
class Current:
    """The attempt of a task that has not ended: what its job's side may fetch and send."""

    state: State
    number: int
    body: Text


class TransferStore(Protocol):
    """What is needed where the job's side fetches and sends its files."""

    async def secret(self, name: str) -> bytes:
        """32 random bytes, made at the first use, the same for every process of this store."""
        ...

    async def current(self, task_id: str) -> Current | None:
        """The attempt that is INITIALIZING or RUNNING now; None where there is none."""
        ...

    async def remark(self, task_id: str, number: int, sentence: str) -> None:
        """Keep a sentence on an attempt's transfer, for the worker; dropped with its end.

        A hundred an attempt are kept; none on an attempt that has ended, or has not begun."""
        ...

    async def remarks(self, task_id: str, number: int) -> Sequence[str]:
        """The sentences kept on an attempt, each once, in order."""
        ...


class WorkerStore(LeaseStore, TransferStore, Protocol):
    """All that a worker needs."""


class Store(TaskStore, WorkerStore, EventStore, CursorStore, FigureStore, Protocol):
    """All of them, and the end."""

    async def close(self) -> None:
        """Close files and connections."""
        ...
