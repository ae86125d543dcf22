"""Named leases: what one process at a time does, whoever of them it is."""

import logging
import time
from typing import Protocol

from tesp.errors import StoreError

_log = logging.getLogger(__name__)


class HoldStore(Protocol):
    """The store's side of a named lease."""

    async def hold(self, name: str, holder: str, lease_seconds: float) -> bool:
        """Take or prolong a named lease (a backend, the relay, a sink); False while another has
        it. Holding it for 0 seconds gives it back."""
        ...


class Holding:
    """One named lease as a process sees it that wants it."""

    def __init__(self, store: HoldStore, name: str, holder: str, lease_seconds: float) -> None:
        self._store = store
        self._name = name
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._ours_until = 0.0

    async def held(self) -> bool:
        """Take or prolong it; whether it is ours. To be asked every third of its length: while
        the store is away it stays ours, until somebody else may have it."""
        asked = time.monotonic()
        try:
            ours = await self._store.hold(self._name, self._holder, self._lease_seconds)
        except StoreError as error:
            _log.warning("%s: its lease cannot be had: %s", self._name, error)
            return time.monotonic() + self._lease_seconds / 3 < self._ours_until
        self._ours_until = asked + self._lease_seconds if ours else 0.0
        return ours

    async def give_back(self) -> None:
        """Let another process take over at once."""
        try:
            await self._store.hold(self._name, self._holder, 0)
        except StoreError as error:
            _log.warning("%s: its lease runs out by itself: %s", self._name, error)
