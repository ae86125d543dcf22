"""Who an ingress delivers to, in these tests."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tesp.bus import Delivery
from tesp.errors import BusUnavailable


class Taker:
    """Keeps what comes; raises `trouble` instead, while that is set, and has no room for more
    than `last`."""

    def __init__(self) -> None:
        self.came: list[Delivery] = []
        self.trouble: Exception | None = None
        self.last: int | None = None
        self.tries = 0

    async def __call__(self, delivery: Delivery) -> None:
        """Take one."""
        self.tries += 1
        if self.trouble is not None:
            raise self.trouble
        if self.last is not None and len(self.came) >= self.last:
            raise BusUnavailable("no room for more")
        self.came.append(delivery)

    @property
    def ids(self) -> list[str]:
        """The ids of the messages that came."""
        return [one.message.id for one in self.came]

    async def until(self, enough: Callable[[], object], seconds: float = 30.0) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + seconds
        while not enough():
            assert time.monotonic() < deadline, f"not so after {seconds:g} s"
            await asyncio.sleep(0.01)


@pytest.fixture
def taker() -> Taker:
    """One that takes all."""
    return Taker()
