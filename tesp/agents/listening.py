"""Listening for ever: what is refused, or cannot be done now, is tried again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass

from tesp.bus import Bus, Delivery, Message, filters, tael
from tesp.errors import BusRefused, StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_REFUSED_SECONDS = 60.0
Take = Callable[[Delivery], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Who takes the messages that match; `name` tells it from all others. `take` raises
    StoreError where a message is to come again. `beside` are more filters, where what matches
    them is to come in one order with the others: none of them may overlap."""

    name: str
    pattern: str
    take: Take
    beside: tuple[str, ...] = ()

    def wants(self, message: Message) -> bool:
        """Whether a message matches."""
        return filters.wanted([self.pattern, *self.beside], message.topic, message.key)


@dataclass(frozen=True, slots=True)
class Ear:
    """A listener as an outlet, for what comes in beside the buses, trusted or not."""

    listener: Listener
    trusted: bool

    async def publish(self, messages: Sequence[Message]) -> None:
        """Have him take them, one after another; returns when he has."""
        for message in messages:
            delivery = Delivery(message, tael.encode(message), self.trusted)
            await _taken(delivery, self.listener.take)


async def listen(
    listeners: Sequence[Listener],
    buses: Sequence[Bus],
    then: Callable[[], Awaitable[None]] | None = None,
    known: Container[str] = (),
) -> None:
    """Listen to all buses for ever; a slow listener is in no other's way.

    `then` is what is to begin when all of them hear what it says; `known` are ids of messages
    that they have heard beside the buses.
    """
    async with asyncio.TaskGroup() as group:
        begun = []
        for bus in buses:
            for listener in listeners:
                begun.append(asyncio.Event())
                group.create_task(_listen(bus, listener, begun[-1], known))
        for one in begun if then else ():
            await one.wait()
        if then:
            await then()


async def _listen(
    bus: Bus, listener: Listener, begun: asyncio.Event, known: Container[str]
) -> None:
    """One after another; each is acknowledged when it was taken. Ends with the bus."""
    while True:
        try:
            patterns = (listener.pattern, *listener.beside)
            async with bus.subscribe(*patterns, name=listener.name) as deliveries:
                begun.set()
                _log.info("%s listens to %s on %s.", listener.name, listener.pattern, bus.name)
                async for delivery in deliveries:
                    if delivery.message.id not in known:
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
