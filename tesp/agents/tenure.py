"""Tenure: work that one process at a time does, over a named lease of the store."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from tesp.store.holding import Holding, HoldStore


class Tenure:
    """A named lease, and what is done while it is held."""

    def __init__(self, store: HoldStore, name: str, holder: str, lease_seconds: float) -> None:
        self._holding = Holding(store, name, holder, lease_seconds)
        self._lease_seconds = lease_seconds

    async def work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this work, which never ends, whenever the lease is ours; for ever."""
        try:
            while True:
                if await self._holding.held():
                    await self._while_held(work)
                await asyncio.sleep(self._lease_seconds / 3)
        finally:
            await self._holding.give_back()

    async def _while_held(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        working = asyncio.create_task(work())
        try:
            while not working.done():
                await asyncio.wait([working], timeout=self._lease_seconds / 3)
                if not await self._holding.held():
                    return
        finally:
            working.cancel()
            await asyncio.wait([working])
        working.result()
