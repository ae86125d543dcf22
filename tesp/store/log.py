"""The log of events: what is in it, who reads it, who feeds it. Part of the store's contracts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tesp.events import Event
from tesp.store.holding import HoldStore


@dataclass(frozen=True, slots=True)
class Logged:
    """An event at its place in the log."""

    sequence: int
    event: Event


class EventLog(Protocol):
    """The log of events, as its readers see it. A task's events are in order; none is lost."""

    async def end(self) -> int:
        """The sequence that the log has come to: `read` behind it gives what is new."""
        ...

    async def first(self) -> int:
        """The first sequence that is still there; 1 while the log is empty."""
        ...

    async def read(self, after: int, limit: int = 1000) -> Sequence[Logged]:
        """Events of the log with a sequence above `after`, in order."""
        ...


class EventStore(EventLog, Protocol):
    """The log, and the outbox that feeds it."""

    async def relay(self, limit: int = 1000) -> int:
        """Move events from the outbox to the log; how many. One caller at a time (`hold`)."""
        ...

    async def written(self, timeout_seconds: float) -> bool:
        """Wait until there may be events in the outbox that were not there at the last call;
        False at the timeout. Tens of milliseconds after the write at the most, whichever
        process wrote. One caller a store object. The first call tells of what was there."""
        ...

    async def history(self, task_id: str) -> Sequence[Event]:
        """The events of one task, relayed or not, in order; none where there is no such task.

        Those that were forgotten may be missing from its beginning.
        """
        ...

    async def forget_events(self, older_than: float) -> int:
        """Take events from before that time out of the log; how many.

        Never one that was not relayed, that a cursor has not passed, or the log's last one.
        """
        ...


class CursorStore(EventLog, HoldStore, Protocol):
    """How far each reader of the log has come, by name, across restarts."""

    async def cursor(self, name: str) -> int:
        """The sequence that this reader is done with; 0 where the name is new."""
        ...

    async def begin_cursor(self, name: str) -> int:
        """The same; but a new one is made, and stands at the log's end from then on. Who begins
        it from time to time keeps it from being dropped."""
        ...

    async def move_cursor(self, name: str, sequence: int) -> None:
        """This reader is done with everything up to `sequence`. A cursor never moves back."""
        ...

    async def forget_cursors(self, untouched_since: float) -> int:
        """Drop the cursors that nobody has begun or moved since that time; how many."""
        ...
