"""The gauge: measures how full the brokers' queues are, for the API, which speaks to no broker."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from tesp.agents.tenure import Tenure
from tesp.bus.depths import Depth, Measured
from tesp.errors import BusError, StoreError
from tesp.store import FigureStore

_log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0
PREFIX = "queues:"


class Look(Protocol):
    """What can be seen of a broker's queues."""

    async def depths(self, queues: Sequence[str]) -> list[Depth]:
        """Those that are there; raises BusError."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


@dataclass(frozen=True, slots=True)
class Watched:
    """Queues of one broker, and how it is looked at."""

    name: str
    queues: tuple[str, ...]
    look: Callable[[], Look]


class Gauge:
    """Measures again and again, while it holds the lease; of all processes one does."""

    def __init__(
        self,
        watched: Sequence[Watched],
        store: FigureStore,
        tenure: Tenure,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        self._watched, self._store, self._tenure = watched, store, tenure
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Measure for ever, whenever the lease is ours."""
        await self._tenure.work(self._measure_all)

    async def _measure_all(self) -> None:
        """A broker that is away holds up no other."""
        async with asyncio.TaskGroup() as group:
            for one in self._watched:
                group.create_task(self._measure(one))

    async def _measure(self, one: Watched) -> None:
        async with AsyncExitStack() as stack:
            look = one.look()
            stack.push_async_callback(look.close)
            while True:
                measured = await _measured(look, one.queues)
                try:
                    await self._store.note_reading(f"{PREFIX}{one.name}", measured.text())
                except StoreError as error:
                    _log.warning("How full the queues are cannot be noted: %s", error)
                await asyncio.sleep(self._every_seconds)


async def _measured(look: Look, queues: Sequence[str]) -> Measured:
    try:
        return Measured(await look.depths(queues))
    except BusError as error:
        return Measured(error=str(error))
