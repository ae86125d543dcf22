"""The relay: moves events from the outbox to the log, one relay at a time over one store."""

import asyncio
import logging
import time

from tesp.errors import StoreError
from tesp.store import Store

_log = logging.getLogger(__name__)

_LEASE = "relay"
_SHORTEST_SECONDS = 0.05
_LONGEST_SECONDS = 1.0


class Relay:
    """Holds the relay's lease where it can, and moves events as they come."""

    def __init__(self, store: Store, holder: str, lease_seconds: float) -> None:
        self._store = store
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._nudged = asyncio.Event()
        self._prolong_at = 0.0

    def nudge(self) -> None:
        """There may be new events."""
        self._nudged.set()

    async def run(self) -> None:
        """Relay for ever: at once when nudged, else soon after there was something to move."""
        pause = _SHORTEST_SECONDS
        while True:
            self._nudged.clear()
            moved = await self._relay()
            pause = _SHORTEST_SECONDS if moved else min(_LONGEST_SECONDS, pause * 2)
            try:
                async with asyncio.timeout(pause):
                    await self._nudged.wait()
            except TimeoutError:
                pass

    async def _relay(self) -> bool:
        """Move what there is, if the lease is ours; whether anything moved."""
        moved = 0
        try:
            while await self._held():
                batch = await self._store.relay()
                moved += batch
                if not batch:
                    break
        except StoreError as error:
            _log.warning("Events wait in the outbox: %s", error)
        return moved > 0

    async def _held(self) -> bool:
        """Whether the lease is ours; it is prolonged when a third of it has passed."""
        now = time.monotonic()
        if now >= self._prolong_at:
            held = await self._store.hold(_LEASE, self._holder, self._lease_seconds)
            self._prolong_at = now + self._lease_seconds / 3 if held else now
            return held
        return True
