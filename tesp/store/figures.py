"""Figures about the service: what waits, for whom, since when. Part of the store's contracts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tesp.tes.states import State


@dataclass(frozen=True, slots=True)
class Standing:
    """A cursor: how many events of the log wait behind it, when the oldest of them happened, and
    when it moved last; None where nothing waits, or where it never moved."""

    name: str
    waiting: int
    oldest: float | None
    moved: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured last of one thing, as JSON text, and when."""

    name: str
    text: str
    time: float


class FigureStore(Protocol):
    """What is told of the service as a whole."""

    async def counts(self) -> Mapping[State, int]:
        """How many tasks are in each state; a state without any may be missing."""
        ...

    async def standings(self) -> Sequence[Standing]:
        """Every cursor, by name."""
        ...

    async def note_reading(self, name: str, text: str) -> None:
        """Keep what was measured in the place of what was measured before. Readings that were
        not renewed for a day are dropped."""
        ...

    async def readings(self) -> Sequence[Reading]:
        """What was measured last, by name."""
        ...
