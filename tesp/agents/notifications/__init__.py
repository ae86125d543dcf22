"""Notifications: a mail or an SMS to a person about a task that ended badly, say.

A rule of the settings chooses events and receivers. For each way to them it is a sink of its own,
which writes notes and gives each to a Notifier.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Note:
    """What a person is told. `id` is the same each time that it is told; `time` is when it
    happened, in seconds since the epoch; `subject` is one line, `short` too."""

    id: str
    time: float
    subject: str
    text: str
    short: str


class Notifier(Protocol):
    """A way to people."""

    async def notify(self, note: Note, receiver: str) -> None:
        """Bring a note to a receiver; returns when it is on its way.

        Raises BusUnavailable (try again), MessageRefused (never this note, or this receiver), or
        BusRefused (we are refused, with the mend: nothing can be sent until it is mended).
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...
