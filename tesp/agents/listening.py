"""Listening for ever: what is refused, or cannot be done now, is tried again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tesp.bus import Bus, Delivery, filters
from tesp.errors import BusRefused, StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_REFUSED_SECONDS = 60.0
Take = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who takes the messages that match; `name` tells it from all others. `take` raises
    StoreError where a message is to come again."""

    name: str
    pattern: str
    take: Take


async def listen(
    listeners: Sequence[Listener],
    buses: Sequence[Bus],
    then: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Listen to all buses for ever; a slow listener is in no other's way.

    `then` is what is to begin when all of them hear what it says.
    """
    async with asyncio.TaskGroup() as group:
        begun = []
        for bus in buses:
            for listener in listeners:
                begun.append(asyncio.Event())
                group.create_task(_listen(bus, listener, begun[-1]))
        for one in begun if then else ():
            await one.wait()
        if then:
            await then()


async def pass_on(listeners: Sequence[Listener], delivery: Delivery) -> None:
    """Hand what came in beside the buses to whom it is for, trusted or not as it came."""
    topic, key = delivery.message.topic, delivery.message.key
    wanting = [one for one in listeners if filters.wanted([one.pattern], topic, key)]
    await asyncio.gather(*(_taken(delivery, one.take) for one in wanting))


async def _listen(bus: Bus, listener: Listener, begun: asyncio.Event) -> None:
    """One after another; each is acknowledged when it was taken. Ends with the bus."""
    while True:
        try:
            async with bus.subscribe(listener.pattern, name=listener.name) as deliveries:
                begun.set()
                _log.info("%s listens to %s on %s.", listener.name, listener.pattern, bus.name)
                async for delivery in deliveries:
                    await _taken(delivery, listener.take)
                return
        except BusRefused as error:
            _log.error("%s hears nothing: %s It is tried again.", listener.name, error)
            await asyncio.sleep(_REFUSED_SECONDS)


async def _taken(delivery: Delivery, take: Take) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await take(delivery)
        except StoreError as error:
            _log.warning("The message %s waits: %s", delivery.message.id, error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
