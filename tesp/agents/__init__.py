"""Agents: what listens on the bus, or speaks there, beside the service itself.

What takes the events of the log away from here (a broker, somebody's URL) is a Sink; a Feeder
brings them to it, from where its cursor stands.
"""

from collections.abc import Sequence
from typing import Protocol

from tesp.store.log import Logged


class Sink(Protocol):
    """Where events go. `name` tells it from all others, and is its cursor's name."""

    name: str

    async def send(self, events: Sequence[Logged]) -> None:
        """Send in this order; returns when every one is confirmed.

        Raises BusUnavailable (send all of them again), MessageRefused (one of them is at fault),
        or BusRefused (we are refused, with the mend: nothing can be sent until it is mended).
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...


_CURSOR = "sink:"


def cursor_of(name: str) -> str:
    """How the cursor and the lease of the sink of this name are called."""
    return _CURSOR + name


def sink_of(cursor: str) -> str | None:
    """The name of the sink whose cursor this is, None where it is another's."""
    return cursor.removeprefix(_CURSOR) if cursor.startswith(_CURSOR) else None
