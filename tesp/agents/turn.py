"""A turn: of all processes over one store, one at a time does something."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from tesp.errors import StoreError
from tesp.store import LeaseStore

_log = logging.getLogger(__name__)


class Turn:
    """A named lease, and what is done while we have it."""

    def __init__(self, store: LeaseStore, name: str, holder: str, lease_seconds: float) -> None:
        self._store, self._name, self._holder = store, name, holder
        self._lease_seconds = lease_seconds
        self._ours_until = 0.0

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work whenever it is our turn, for ever; a turn that is lost ends it."""
        while True:
            if await self._held():
                await self._while_ours(work)
            await asyncio.sleep(self._pause_seconds)

    @property
    def _pause_seconds(self) -> float:
        return self._lease_seconds / 3

    async def _while_ours(self, work: Callable[[], Awaitable[None]]) -> None:
        working = asyncio.ensure_future(work())
        try:
            while not working.done():
                await asyncio.wait((working,), timeout=self._pause_seconds)
                if not await self._held():
                    _log.info("Another process has taken over the %s.", self._name)
                    return
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            with contextlib.suppress(StoreError):
                await self._store.hold(self._name, self._holder, 0)

    async def _held(self) -> bool:
        """Whether it is our turn; while the store is away, for as long as nobody else may have
        it."""
        asked = time.monotonic()
        try:
            ours = await self._store.hold(self._name, self._holder, self._lease_seconds)
        except StoreError as error:
            _log.warning("Nobody knows whose turn it is: %s", error)
            return time.monotonic() + self._pause_seconds < self._ours_until
        self._ours_until = asked + self._lease_seconds if ours else 0.0
        return ours
