"""A lane's keeper: the backend is ours, or another's, and a store that is away says neither."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tesp.dispatch.lanes import Keeper, Lane
from tesp.errors import StoreError
from tesp.tes.offers import Offer
from tests.unit.dispatch.scripted import ScriptedBackend

LEASE_SECONDS = 3.0


class Leases:
    """Grants the lease, denies it, or is away, as it is told; counts how often it was asked."""

    def __init__(self) -> None:
        self.answer: bool | StoreError = True
        self.asked = 0

    async def hold(self, name: str, holder: str, lease_seconds: float) -> bool:
        self.asked += 1
        if isinstance(self.answer, StoreError):
            raise self.answer
        return self.answer

    async def until_asked(self, times: int) -> None:
        wanted = self.asked + times
        async with asyncio.timeout(20):
            while self.asked < wanted:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.fixture
def backend(tmp_path: Path) -> ScriptedBackend:
    return ScriptedBackend("b", tmp_path)


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def lane(backend: ScriptedBackend, leases: Leases) -> AsyncIterator[Lane]:
    """One that is held, and kept."""
    one = Lane(backend, Offer("b"), asyncio.Semaphore(2))
    keeping = asyncio.create_task(Keeper(one, leases, "me", LEASE_SECONDS, lambda: None).run())
    await leases.until_asked(2)
    assert one.held
    yield one
    keeping.cancel()


async def test_a_store_that_is_away_for_a_moment_takes_no_backend_from_us(
    backend: ScriptedBackend, leases: Leases, lane: Lane
) -> None:
    leases.answer = StoreError("down")
    await leases.until_asked(1)
    leases.answer = True
    await leases.until_asked(1)
    assert (lane.held, backend.closed) == (True, 0)


async def test_a_backend_that_another_holds_is_let_go_at_once(
    backend: ScriptedBackend, leases: Leases, lane: Lane
) -> None:
    leases.answer = False
    await leases.until_asked(2)
    assert (lane.held, lane.free_slots, backend.closed) == (False, 0, 1)


async def test_a_store_that_is_away_for_longer_than_the_lease_leaves_it_to_others(
    backend: ScriptedBackend, leases: Leases, lane: Lane
) -> None:
    leases.answer = StoreError("down")
    await leases.until_asked(4)
    assert (lane.held, backend.closed) == (False, 1)
