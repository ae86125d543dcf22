"""Tenure: work that one process at a time does, over a named lease of the store."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any

from tesp.errors import StoreError
from tesp.store.log import CursorStore

_log = logging.getLogger(__name__)


class Tenure:
    """A named lease, and what is done while it is held."""

    def __init__(self, store: CursorStore, name: str, holder: str, lease_seconds: float) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._ours_until = 0.0

    async def work(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this work, which never ends, whenever the lease is ours; for ever."""
        try:
            while True:
                if await self._held():
                    await self._while_held(work)
                await asyncio.sleep(self._lease_seconds / 3)
        finally:
            await self._give_back()

    async def _while_held(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        working = asyncio.create_task(work())
        try:
            while not working.done():
                await asyncio.wait([working], timeout=self._lease_seconds / 3)
                if not await self._held():
                    return
        finally:
            working.cancel()
            await asyncio.wait([working])
        working.result()

    async def _held(self) -> bool:
        """Take or prolong the lease; whether it is ours. While the store is away it is, until
        somebody else may have it."""
        asked = time.monotonic()
        try:
            ours = await self._store.hold(self._name, self._holder, self._lease_seconds)
        except StoreError as error:
            _log.warning("%s: its lease cannot be had: %s", self._name, error)
            return time.monotonic() + self._lease_seconds / 3 < self._ours_until
        self._ours_until = asked + self._lease_seconds if ours else 0.0
        return ours

    async def _give_back(self) -> None:
        try:
            await self._store.hold(self._name, self._holder, 0)
        except StoreError as error:
            _log.warning("%s: its lease runs out by itself: %s", self._name, error)
