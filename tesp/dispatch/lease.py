"""Leases as their owner sees them: kept alive in one loop, given up before they run out."""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Sequence

from tesp.errors import StoreError
from tesp.store import Fence, LeaseStore, Renewal

_log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.02


class Lease:
    """One task's lease: resolves `canceling` or `lost` when that is so."""

    def __init__(self, fence: Fence, deadline: float) -> None:
        self.fence = fence
        self.deadline = deadline
        self.canceling = asyncio.Event()
        self.lost = asyncio.Event()
        self._news = asyncio.Event()

    def take(self, renewal: Renewal, deadline: float) -> None:
        """Note what a renewal brought back."""
        if renewal.lost:
            self.lose()
            return
        self.deadline = deadline
        if renewal.canceling:
            self.canceling.set()
            self._news.set()

    def lose(self) -> None:
        """The lease is another's, or may be so soon."""
        self.lost.set()
        self._news.set()

    async def news(self) -> None:
        """Wait until the lease is lost or somebody wants the task ended."""
        await self._news.wait()


class LeaseKeeper:
    """Renews all leases of this process every third of their length, and when it is nudged."""

    def __init__(self, store: LeaseStore, lease_seconds: float) -> None:
        self._store = store
        self._seconds = lease_seconds
        self._leases: dict[str, Lease] = {}
        self._nudged = asyncio.Event()

    def deadline(self) -> float:
        """When a lease that is taken now must be given up, by our own monotonic clock."""
        return time.monotonic() + self._seconds * 0.9

    def keep(self, fence: Fence, deadline: float) -> Lease:
        """Keep a lease that was claimed before `deadline` was computed."""
        lease = Lease(fence, deadline)
        self._leases[fence.task_id] = lease
        return lease

    def drop(self, lease: Lease) -> None:
        """The attempt is over."""
        if self._leases.get(lease.fence.task_id) is lease:
            del self._leases[lease.fence.task_id]

    def nudge(self) -> None:
        """Something changed: see at once whether a task of ours is to be canceled."""
        self._nudged.set()

    async def run(self) -> None:
        """Renew for ever."""
        while True:
            try:
                async with asyncio.timeout(self._patience()):
                    await self._nudged.wait()
                # Many nudges in a row are one: a flood of new tasks costs no flood of renewals.
                await asyncio.sleep(_PAUSE_SECONDS)
            except TimeoutError:
                pass
            self._nudged.clear()
            await self._renew()

    def _patience(self) -> float:
        """How long to wait for anything: no lease may run out meanwhile."""
        rest = min((lease.deadline for lease in self._leases.values()), default=math.inf)
        return max(0.0, min(self._seconds / 3, rest - time.monotonic()))

    async def _renew(self) -> None:
        leases = dict(self._leases)
        deadline = self.deadline()
        try:
            async with asyncio.timeout(self._patience()):
                renewals = await self._renewed(leases.values())
        except (StoreError, TimeoutError) as error:
            _log.warning("Leases could not be renewed: %s", error or "the store is silent")
            renewals = []
            await asyncio.sleep(_PAUSE_SECONDS)
        for renewal in renewals:
            leases[renewal.fence.task_id].take(renewal, deadline)
        for lease in leases.values():
            if time.monotonic() >= lease.deadline:
                lease.lose()
                self.drop(lease)

    async def _renewed(self, leases: Iterable[Lease]) -> Iterable[Renewal]:
        fences = [lease.fence for lease in leases]
        return await self._store.renew(fences, self._seconds) if fences else []

    def held(self) -> list[Fence]:
        """The leases that are ours."""
        return [lease.fence for lease in self._leases.values()]

    async def release(self, fences: Sequence[Fence]) -> None:
        """Let others take over at once: called when this process stops in good order."""
        if fences:
            await self._store.renew(fences, 0)
