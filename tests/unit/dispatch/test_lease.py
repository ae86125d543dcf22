"""Leases as their owner sees them."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tesp.dispatch.lease import LeaseKeeper
from tesp.errors import StoreError
from tesp.store import Fence, Renewal

SECONDS = 0.3
LONG_SECONDS = 3.0


class ScriptedStore:
    """Answers renewals as it is told to."""

    def __init__(self) -> None:
        self.canceling: set[str] = set()
        self.lost: set[str] = set()
        self.broken = False
        self.silent = False
        self.asked: list[tuple[Sequence[Fence], float]] = []
        self._news = asyncio.Condition()

    async def asked_times(self, count: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= count)

    async def renew(self, fences: Sequence[Fence], lease_seconds: float) -> Sequence[Renewal]:
        async with self._news:
            self.asked.append((fences, lease_seconds))
            self._news.notify_all()
        if self.broken:
            raise StoreError("out of reach")
        if self.silent:
            await asyncio.Event().wait()
        return [Renewal(f, f.task_id in self.canceling, f.task_id in self.lost) for f in fences]


@asynccontextmanager
async def kept(store: ScriptedStore) -> AsyncIterator[LeaseKeeper]:
    keeper = LeaseKeeper(store, SECONDS)  # type: ignore[arg-type]
    running = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        running.cancel()


async def test_leases_are_renewed_for_as_long_as_they_are_kept() -> None:
    store = ScriptedStore()
    async with kept(store) as keeper:
        lease = keeper.keep(Fence("a", 1), keeper.deadline())
        first = lease.deadline
        await store.asked_times(5)
        assert lease.deadline > first
        assert not lease.lost.is_set()
        keeper.keep(Fence("b", 1), keeper.deadline())
        keeper.drop(lease)
        before = len(store.asked)
        await store.asked_times(before + 3)
        assert store.asked[-1] == ([Fence("b", 1)], SECONDS)


async def test_a_nudge_brings_the_wish_to_cancel_before_the_next_renewal_is_due() -> None:
    store = ScriptedStore()
    store.canceling.add("a")
    keeper = LeaseKeeper(store, 3600.0)  # type: ignore[arg-type]
    running = asyncio.create_task(keeper.run())
    lease, other = (keeper.keep(Fence(t, 1), keeper.deadline()) for t in "ab")
    keeper.nudge()
    await asyncio.wait_for(lease.news(), 10)
    assert lease.canceling.is_set()
    assert not other.canceling.is_set()
    running.cancel()


async def test_a_lease_that_another_took_is_lost() -> None:
    store = ScriptedStore()
    store.lost.add("a")
    async with kept(store) as keeper:
        lease = keeper.keep(Fence("a", 1), keeper.deadline())
        await asyncio.wait_for(lease.news(), 10)
        assert lease.lost.is_set()


@pytest.mark.parametrize("trouble", ["broken", "silent"])
async def test_a_lease_that_cannot_be_renewed_is_given_up_before_it_runs_out(trouble: str) -> None:
    store = ScriptedStore()
    setattr(store, trouble, True)
    keeper = LeaseKeeper(store, LONG_SECONDS)  # type: ignore[arg-type]
    taken = time.monotonic()
    lease = keeper.keep(Fence("a", 1), keeper.deadline())
    running = asyncio.create_task(keeper.run())
    await asyncio.wait_for(lease.news(), 20)
    assert lease.lost.is_set()
    assert lease.deadline < taken + LONG_SECONDS
    running.cancel()


async def test_a_short_trouble_loses_nothing() -> None:
    store = ScriptedStore()
    keeper = LeaseKeeper(store, 3600.0)  # type: ignore[arg-type]
    running = asyncio.create_task(keeper.run())
    lease = keeper.keep(Fence("a", 1), keeper.deadline())
    async with asyncio.timeout(20):
        store.broken = True
        keeper.nudge()
        await store.asked_times(1)
        store.broken = False
        keeper.nudge()
        await store.asked_times(2)
    assert not lease.lost.is_set()
    running.cancel()


async def test_leases_are_given_back_at_a_stop_in_good_order() -> None:
    store = ScriptedStore()
    keeper = LeaseKeeper(store, SECONDS)  # type: ignore[arg-type]
    keeper.keep(Fence("a", 1), keeper.deadline())
    await keeper.release(keeper.held())
    assert store.asked == [([Fence("a", 1)], 0)]
