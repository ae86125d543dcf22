"""The relay: moves events from the outbox to the log, one relay at a time over one store.

Whoever relays also forgets what is old, once an hour.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from tesp.errors import StoreError
from tesp.store import Store
from tesp.store.holding import Holding

_log = logging.getLogger(__name__)

_LEASE = "relay"
_SHORTEST_SECONDS = 0.05
_LONGEST_SECONDS = 1.0
_DAY_SECONDS = 86400.0
_TIDY_SECONDS = 3600.0


class Relay:
    """Holds the relay's lease where it can, and moves events as they come."""

    def __init__(
        self,
        store: Store,
        holder: str,
        lease_seconds: float,
        keep_seconds: float = 90 * _DAY_SECONDS,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """`tell` is called when the log has grown, or is about to."""
        self._store = store
        self._holding = Holding(store, _LEASE, holder, lease_seconds)
        self._lease_seconds = lease_seconds
        self._keep_seconds = keep_seconds
        self._tell = tell
        self._nudged = asyncio.Event()
        self._ask_at = self._tidy_at = 0.0
        self._ours = False

    async def run(self) -> None:
        """Relay for ever: at once when nudged, else soon after there was something to move."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._relay_for_ever())

    async def _watch(self) -> None:
        """Be nudged by every event that is written, whichever process writes it."""
        while True:
            try:
                written = await self._store.written(self._lease_seconds)
            except StoreError as error:
                _log.warning("The outbox cannot be watched: %s", error)
                written = await asyncio.sleep(_LONGEST_SECONDS, result=True)
            if written:
                self._nudged.set()
                # Another process may be the one that relays it.
                self._tell()

    async def _relay_for_ever(self) -> None:
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
                    await self._tidy()
                    break
                self._tell()
        except StoreError as error:
            _log.warning("Events wait in the outbox: %s", error)
        return moved > 0

    async def _held(self) -> bool:
        """Whether the lease is ours; it is prolonged when a third of it has passed, and where it
        is another's, it is asked for once a second."""
        now = time.monotonic()
        if now >= self._ask_at:
            self._ours = await self._holding.held()
            pause = self._lease_seconds / 3
            self._ask_at = now + (pause if self._ours else min(pause, _LONGEST_SECONDS))
        return self._ours

    async def _tidy(self) -> None:
        """Forget, once an hour, what is older than it is to be kept."""
        now = time.monotonic()
        if now < self._tidy_at:
            return
        self._tidy_at = now + _TIDY_SECONDS
        before = time.time() - self._keep_seconds
        dropped = await self._store.forget_cursors(before)
        forgotten = await self._store.forget_events(before)
        if dropped or forgotten:
            _log.info("%d old events and %d cursors of old were forgotten", forgotten, dropped)
