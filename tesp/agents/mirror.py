"""The mirror: what passes on the bus, for people to watch."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from tesp.bus import Bus, Delivery

TEST = "test"


@dataclass(frozen=True, slots=True)
class Selection:
    """What is shown: topics that contain none of the words, of the statuses if there are any."""

    dropped: tuple[str, ...] = (TEST,)
    statuses: tuple[str, ...] = ()

    def has(self, delivery: Delivery) -> bool:
        """Whether it is shown."""
        message = delivery.message
        if any(word in message.topic for word in self.dropped):
            return False
        return not self.statuses or str(message.payload.get("status")) in self.statuses


async def mirrored(
    bus: Bus, filters: tuple[str, ...], selection: Selection
) -> AsyncIterator[Delivery]:
    """Each message that is selected, for ever."""
    async with bus.subscribe(*filters) as deliveries:
        async for delivery in deliveries:
            if selection.has(delivery):
                yield delivery
