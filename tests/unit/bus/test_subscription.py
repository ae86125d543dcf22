"""A subscription over scripted connections: what comes again, and what was dealt with."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from tesp.bus import Delivery, Message
from tesp.bus.subscription import Incoming, Subscription
from tesp.errors import BusUnavailable


class Connections:
    """One after another: what each brings, and whether it lives to take acknowledgements."""

    def __init__(self, *scripts: tuple[bool, Sequence[tuple[str, bool]]]) -> None:
        self.scripts = list(scripts)
        self.acknowledged: list[str] = []

    @asynccontextmanager
    async def source(self) -> AsyncIterator[AsyncIterator[Incoming]]:
        if not self.scripts:
            raise BusUnavailable("No more of them.")
        lives, script = self.scripts.pop(0)
        yield self._incoming(lives, script)

    async def _incoming(
        self, lives: bool, script: Sequence[tuple[str, bool]]
    ) -> AsyncIterator[Incoming]:
        for known, is_repeated in script:
            delivery = Delivery(Message("a", {}, known, 1.0, "c"), b"")
            yield Incoming(delivery, partial(self._acknowledge, known, lives), is_repeated)
        raise BusUnavailable("It hung up.")

    async def _acknowledge(self, known: str, lives: bool) -> bool:
        if lives:
            self.acknowledged.append(known)
        return lives


async def taken(connections: Connections, count: int) -> list[str]:
    async with Subscription("scripted", [connections.source]) as deliveries:
        return [(await anext(deliveries)).message.id for _ in range(count)]


async def test_what_was_dealt_with_is_not_given_again_when_it_is_repeated() -> None:
    connections = Connections(
        (False, [("1", False), ("2", False)]), (True, [("1", True), ("2", True), ("3", False)])
    )
    assert await taken(connections, 3) == ["1", "2", "3"]
    assert connections.acknowledged == ["1", "2"]


async def test_what_is_sent_twice_is_given_twice() -> None:
    connections = Connections((False, [("1", False)]), (True, [("1", False), ("2", False)]))
    assert await taken(connections, 3) == ["1", "1", "2"]


async def test_what_was_not_dealt_with_is_given_although_it_is_repeated() -> None:
    connections = Connections((True, [("1", True), ("2", False)]))
    assert await taken(connections, 2) == ["1", "2"]
    assert connections.acknowledged == ["1"]
