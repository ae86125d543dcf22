"""The subscriptions of one bus, and the names under which a broker keeps messages for them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from tesp.bus.subscription import Subscription
from tesp.errors import BusRefused
from tesp.settings import BrokerSettings


class Names:
    """Gives each kept subscription its name, which no other of this bus has meanwhile: two
    under one name would take each other's messages."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._taken: set[str] = set()
        self._open: set[Subscription] = set()

    @contextmanager
    def taken(self, name: str | None) -> Iterator[str | None]:
        """The name at the broker; None where nothing is kept."""
        client = self._broker.client_id
        full = f"{client}-{name}" if client and name else client
        if full is None:
            yield None
            return
        if full in self._taken:
            raise BusRefused(
                f"The broker {self._broker.name}: there is a subscription {full} already; give "
                "each subscription a name of its own."
            )
        self._taken.add(full)
        try:
            yield full
        finally:
            self._taken.discard(full)

    @asynccontextmanager
    async def subscription(self, one: Subscription) -> AsyncIterator[Subscription]:
        """Open a subscription that ends with the bus, at the latest."""
        self._open.add(one)
        try:
            async with one:
                yield one
        finally:
            self._open.discard(one)

    async def end(self) -> None:
        """End all of them."""
        for one in list(self._open):
            await one.end()
