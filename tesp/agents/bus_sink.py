"""A broker as a sink: each event becomes a message."""

from collections.abc import Callable, Sequence

from tesp.bus import Bus, Message
from tesp.events import Event
from tesp.store.log import Logged

Projection = Callable[[Event], Message]


class BusSink:
    """Publishes what a projection makes of the events."""

    def __init__(self, bus: Bus, projection: Projection) -> None:
        self.name = bus.name
        self._bus = bus
        self._projection = projection

    async def send(self, events: Sequence[Logged]) -> None:
        """Publish them; returns when the broker has confirmed them."""
        await self._bus.publish([self._projection(entry.event) for entry in events])

    async def close(self) -> None:
        """Close the bus."""
        await self._bus.close()
