"""Many tasks at once, and where the log has come to."""

import asyncio

import pytest

from tesp.errors import Conflict
from tesp.store import IdempotencyKey, NewTask, Store, TaskQuery
from tesp.tes.states import State
from tesp.tes.views import View
from tests.contract.store.places import Place
from tests.contract.store.samples import BODY, a_task, all_pages, brought_to, full, stored


async def test_many_tasks_are_stored_as_one_alone_is(store: Store) -> None:
    new = [a_task(name=f"n{n}", tags={"run": str(n % 2)}) for n in range(20)]
    assert await store.create_many(new) == [task.id for task in new]
    assert len(await store.create_many([])) == 0
    for task in new:
        (event,) = await store.history(task.id)
        assert (event.state, event.name) == (State.QUEUED, task.name)
        assert (await full(store, task.id)).body == BODY.full
    odd = await all_pages(store, TaskQuery(tags=(("run", "1"),)))
    assert sorted(odd) == sorted(task.id for task in new[1::2])


async def test_keys_of_many_give_the_tasks_that_they_made_before(store: Store) -> None:
    def batch(digest: str, count: int) -> list[NewTask]:
        return [a_task(idempotency=IdempotencyKey(f"k\n{n}", digest)) for n in range(count)]

    first = await store.create_many(batch("d", 3))
    again = await store.create_many(batch("d", 5))
    assert list(again[:3]) == list(first)
    assert len(set(again)) == 5
    with pytest.raises(Conflict):
        await store.create_many(batch("other", 2))
    assert len(await all_pages(store, TaskQuery())) == 5


async def test_many_tasks_are_shown_as_one_alone_is(store: Store) -> None:
    ids = [await brought_to(store, state) for state in (State.QUEUED, State.COMPLETE)]
    await stored(store)
    for view in View:
        found = await store.get_many([ids[1], "nosuch", ids[0], ids[1]], view)
        assert found == {i: await store.get(i, view) for i in ids}
    assert await store.get_many(["nosuch"], View.FULL) == {}


async def test_the_end_of_the_log_is_what_was_relayed(place: Place) -> None:
    store = await place.open()
    assert await store.end() == 0
    await asyncio.gather(*(stored(store) for _ in range(3)))
    assert await store.end() == 0
    await store.relay()
    entries = await store.read(0)
    assert await store.end() == entries[-1].sequence
    await store.close()
    store = await place.open()
    try:
        assert await store.end() == entries[-1].sequence
        assert await store.read(await store.end()) == []
    finally:
        await store.close()
