"""Several backends: who gets a task, what happens where one fails, who may use one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tesp.dispatch.attempt import Tools
from tesp.dispatch.dispatcher import Dispatcher
from tesp.dispatch.lanes import Lane, Lanes
from tesp.dispatch.relay import Relay
from tesp.settings import StagingSettings
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import Needs, NewTask
from tesp.store.sqlite import SqliteStore
from tesp.tes.models import TaskSubmission
from tesp.tes.offers import Offer, Offers, Route
from tesp.tes.states import State
from tesp.tes.views import View, body_text
from tests.unit.dispatch.scripted import ScriptedBackend

LEASE_SECONDS = 6.0
ABANDON_SECONDS = 1.0
TASK = TaskSubmission.model_validate({"executors": [{"image": "i", "command": ["true"]}]})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "tesp.db")
    yield store
    await store.close()


@contextlib.asynccontextmanager
async def dispatching(
    store: SqliteStore, *backends: ScriptedBackend, offers: Offers | None = None, name: str = "me"
) -> AsyncIterator[None]:
    """A dispatcher over these backends, for as long as the context lasts."""
    offers = offers or Offers(tuple(Offer(b.name) for b in backends))
    by_name = {offer.name: offer for offer in offers.all}
    lanes = [Lane(b, by_name[b.name], asyncio.Semaphore(2)) for b in backends]
    storages = Storages(StagingSettings())
    tools = Tools(store, storages, Keys(b"secret", "http://here"), 0.01)
    relay = Relay(store, name, LEASE_SECONDS)
    dispatcher = Dispatcher(
        store, Lanes(lanes, offers), tools, name, LEASE_SECONDS, relay, ABANDON_SECONDS
    )
    running = asyncio.create_task(dispatcher.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await storages.close()


async def create(store: SqliteStore, count: int, prefix: str = "t", **task: object) -> list[str]:
    needs = task.pop("needs", Needs())
    new = [
        NewTask(f"{prefix}{n:03}", "owner", body_text(TASK, "2026"), needs=needs, **task)  # type: ignore[arg-type]
        for n in range(count)
    ]
    return list(await store.create_many(new))


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def states(store: SqliteStore, ids: list[str]) -> set[State]:
    return {task.state for task in (await store.get_many(ids, View.MINIMAL)).values()}


async def all_are(store: SqliteStore, ids: list[str], state: State) -> None:
    async with asyncio.timeout(20):
        while await states(store, ids) != {state}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_tasks_are_spread_by_load(store: SqliteStore, tmp_path: Path) -> None:
    one, two = (ScriptedBackend(name, tmp_path, slots=10) for name in ("one", "two"))
    one.go_on.clear()
    two.go_on.clear()
    async with dispatching(store, one, two):
        ids = await create(store, 12)
        await until(lambda: len(one.submitted) + len(two.submitted) == 12)
        assert abs(len(one.submitted) - len(two.submitted)) <= 2
        one.go_on.set()
        two.go_on.set()
        await all_are(store, ids, State.COMPLETE)


async def test_what_has_not_started_goes_elsewhere_when_a_backend_fails(
    store: SqliteStore, tmp_path: Path
) -> None:
    one, two = (ScriptedBackend(name, tmp_path) for name in ("one", "two"))
    async with dispatching(store, one, two):
        await all_are(store, await create(store, 2, "a"), State.COMPLETE)
        one.down = "its power is off"
        ids = await create(store, 20, "b")
        await all_are(store, ids, State.COMPLETE)
        assert sum(two.submitted[f"{task_id}-1"] for task_id in ids) == 20


async def test_what_a_backend_forgot_before_its_start_is_started_again(
    store: SqliteStore, tmp_path: Path
) -> None:
    backend = ScriptedBackend("only", tmp_path)
    backend.forgets = 2
    async with dispatching(store, backend):
        (task_id,) = await create(store, 1)
        await all_are(store, [task_id], State.COMPLETE)
    assert backend.submitted == {f"{task_id}-1": 3}


async def test_a_backend_that_failed_comes_back_by_itself(
    store: SqliteStore, tmp_path: Path
) -> None:
    backend = ScriptedBackend("only", tmp_path)
    backend.down = "its power is off"
    async with dispatching(store, backend):
        (task_id,) = await create(store, 1)
        await until(lambda: backend.checks > 2)
        assert (await store.get_many([task_id], View.MINIMAL))[task_id].state is State.QUEUED
        backend.down = None
        await all_are(store, [task_id], State.COMPLETE)


async def test_a_task_that_may_have_started_waits_for_its_backend(
    store: SqliteStore, tmp_path: Path
) -> None:
    one, two = (ScriptedBackend(name, tmp_path) for name in ("one", "two"))
    offers = Offers((Offer("one"), Offer("two")), (Route("only", None, frozenset({"one"})),))
    one.go_on.clear()
    async with dispatching(store, one, two, offers=offers):
        ids = await create(store, 1, tags={"only": "one"})
        await all_are(store, ids, State.RUNNING)
        one.down = "its power is off"
        one.go_on.set()
        # It ended, and what it left cannot be removed yet: that is no reason to keep the end back.
        await all_are(store, ids, State.COMPLETE)
        assert one.cleaned == []
        one.down = None
        await until(lambda: one.cleaned == ["t000-1"])
        assert not two.submitted


async def test_tasks_that_have_no_backend_now_do_not_hold_up_others(
    store: SqliteStore, tmp_path: Path
) -> None:
    down, up = ScriptedBackend("down", tmp_path), ScriptedBackend("up", tmp_path, slots=2)
    down.down = "its power is off"
    offers = Offers((Offer("down"), Offer("up")), (Route("only", None, frozenset({"down"})),))
    async with dispatching(store, down, up, offers=offers):
        stuck = await create(store, 50, "a", tags={"only": "down"})
        ids = await create(store, 3, "b")
        await all_are(store, ids, State.COMPLETE)
        await all_are(store, stuck, State.QUEUED)
        down.down = None
        await all_are(store, stuck, State.COMPLETE)


async def test_one_dispatcher_at_a_time_uses_a_backend(store: SqliteStore, tmp_path: Path) -> None:
    one, other = ScriptedBackend("b", tmp_path / "1"), ScriptedBackend("b", tmp_path / "2")
    async with dispatching(store, one, name="first"):
        await all_are(store, await create(store, 1, "a"), State.COMPLETE)
        async with dispatching(store, other, name="second"):
            await all_are(store, await create(store, 20, "b"), State.COMPLETE)
            assert not other.submitted
    async with dispatching(store, other, name="second"):
        await all_are(store, await create(store, 1, "c"), State.COMPLETE)
    assert len(other.submitted) == 1


async def test_attempts_on_a_backend_that_nobody_serves_any_more_are_ended(
    store: SqliteStore, tmp_path: Path
) -> None:
    gone, here = ScriptedBackend("gone", tmp_path), ScriptedBackend("here", tmp_path)
    gone.go_on.clear()
    async with dispatching(store, gone):
        ids = await create(store, 2)
        await all_are(store, ids, State.RUNNING)
    await store.cancel(ids[0])
    async with dispatching(store, here):
        await all_are(store, ids[:1], State.CANCELED)
        await all_are(store, ids[1:], State.SYSTEM_ERROR)
    found = await store.get(ids[1], View.FULL)
    assert found is not None
    assert "Nobody has served the backend gone" in found.logs
