"""The bus within one process: for a server without a broker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tesp.bus import Delivery, Message, filters, tael
from tesp.errors import BusUnavailable, MessageRefused

_MOST_WAITING = 10_000


@dataclass(eq=False)
class _Subscriber:
    patterns: tuple[str, ...]
    waiting: asyncio.Queue[Delivery | None] = field(default_factory=asyncio.Queue)
    ended: bool = False

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        delivery = None if self.ended else await self.waiting.get()
        if delivery is None:
            raise StopAsyncIteration
        return delivery

    def end(self) -> None:
        self.ended = True
        self.waiting.put_nowait(None)


class MemoryBus:
    """Hands messages to the subscribers of this process; holds publishers up, by BusUnavailable,
    while one of them has fallen too far behind."""

    def __init__(self, name: str = "memory", most_waiting: int = _MOST_WAITING) -> None:
        self.name = name
        self._most_waiting = most_waiting
        self._subscribers: list[_Subscriber] = []

    async def publish(self, messages: Sequence[Message]) -> None:
        """Hand all of them to whoever wants them, or none where there is no room."""
        # It may keep none of them: who publishes without a pause would never let anybody read.
        await asyncio.sleep(0)
        deliveries = [Delivery(m, tael.encode(m), trusted=True) for m in messages]
        if len(deliveries) > self._most_waiting:
            raise MessageRefused(f"more than {self._most_waiting} messages at once: send fewer")
        wanted = [(s, self._for(s, deliveries)) for s in self._subscribers]
        for subscriber, theirs in wanted:
            if subscriber.waiting.qsize() + len(theirs) > self._most_waiting:
                raise BusUnavailable(f"The bus {self.name} is full: a subscriber is too slow.")
        for subscriber, theirs in wanted:
            for delivery in theirs:
                subscriber.waiting.put_nowait(delivery)

    @asynccontextmanager
    async def subscribe(
        self, *patterns: str, name: str | None = None
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """What is published from now on."""
        checked = tuple(filters.checked_binding(pattern) for pattern in patterns)
        subscriber = _Subscriber(checked)
        self._subscribers.append(subscriber)
        try:
            yield subscriber
        finally:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

    async def close(self) -> None:
        """End all subscriptions."""
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            subscriber.end()

    def _for(self, subscriber: _Subscriber, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return [
            delivery
            for delivery in deliveries
            if filters.wanted(subscriber.patterns, delivery.message.topic, delivery.message.key)
        ]
