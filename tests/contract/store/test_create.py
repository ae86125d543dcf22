"""What creating a task promises."""

import asyncio

import pytest

from tesp.errors import Conflict
from tesp.store import IdempotencyKey, Store, TaskQuery
from tesp.tes.identifiers import new_task_id
from tesp.tes.needs import Needs
from tesp.tes.states import State
from tesp.tes.views import TaskText, Text, View
from tests.contract.store.places import Place
from tests.contract.store.samples import (
    BODY,
    LONG,
    a_task,
    all_pages,
    claimed,
    due,
    full,
    running,
    stored,
)


async def test_a_new_task_is_queued_and_shown_with_its_body(store: Store) -> None:
    task_id = await stored(store)

    assert await full(store, task_id) == TaskText(task_id, State.QUEUED, BODY.full)


async def test_an_unknown_task_is_none_in_every_view(store: Store) -> None:
    await stored(store)

    for view in View:
        assert await store.get("nosuch", view) is None


async def test_each_view_shows_its_own_text(store: Store) -> None:
    task_id = await stored(store, body=Text('"name":"full"', '"name":"basic"'))

    seen = [await store.get(task_id, view) for view in View]

    assert [t.body for t in seen if t] == ["", '"name":"basic"', '"name":"full"']


async def test_a_body_without_a_basic_text_is_the_same_in_both_views(store: Store) -> None:
    task_id = await stored(store)

    seen = [await store.get(task_id, view) for view in (View.BASIC, View.FULL)]

    assert [t.body for t in seen if t] == [BODY.full, BODY.full]


async def test_what_was_stored_is_there_after_reopening(place: Place) -> None:
    first = await place.open()
    task_id = await stored(first, tags={"a": "b"}, name="n")
    await first.close()

    second = await place.open()
    try:
        assert (await full(second, task_id)).body == BODY.full
        assert await all_pages(second, TaskQuery(tags=(("a", "b"),))) == [task_id]
        assert await due(second) == [task_id]
    finally:
        await second.close()


async def test_a_second_task_with_the_same_id_is_a_conflict_and_changes_nothing(
    store: Store,
) -> None:
    task_id = await stored(store, tags={"a": "b"})

    with pytest.raises(Conflict):
        await stored(store, "eve", id=task_id, body=Text('"name":"other"'), tags={"c": "d"})

    assert (await full(store, task_id)).body == BODY.full
    assert await all_pages(store, TaskQuery(tags=(("c", None),))) == []
    assert len(await store.history(task_id)) == 1


async def test_the_claim_has_all_that_was_created(store: Store) -> None:
    needs = Needs(1.5, 10**12, 10**13, True, ("eu", "us"), {"gpus": "1", "größe": "5"})

    claim = await claimed(store, owner="bob", name="n", needs=needs, warnings=("a", 'b"\n'))

    assert (claim.owner, claim.name, claim.needs, claim.warnings) == (
        "bob",
        "n",
        needs,
        ("a", 'b"\n'),
    )
    assert (claim.body, claim.logs, claim.state) == (BODY, "", State.INITIALIZING)


async def test_the_claim_of_a_bare_task_has_no_needs_and_no_warnings(store: Store) -> None:
    claim = await claimed(store)

    assert (claim.needs, claim.warnings, claim.name) == (Needs(), (), None)


async def test_the_same_key_and_body_give_the_first_id_and_no_second_task(store: Store) -> None:
    key = IdempotencyKey("k", "digest")

    first = await stored(store, idempotency=key)
    second = await stored(store, idempotency=key)

    assert first == second
    assert await all_pages(store, TaskQuery()) == [first]


async def test_the_same_key_gives_the_first_id_after_reopening(place: Place) -> None:
    key = IdempotencyKey("k", "digest")
    store = await place.open()
    first = await stored(store, idempotency=key)
    await store.close()

    store = await place.open()
    try:
        assert await stored(store, idempotency=key) == first
    finally:
        await store.close()


async def test_the_same_key_with_another_body_is_a_conflict_and_stores_nothing(
    store: Store,
) -> None:
    first = await stored(store, idempotency=IdempotencyKey("k", "one"))

    with pytest.raises(Conflict):
        await stored(store, idempotency=IdempotencyKey("k", "two"))

    assert await all_pages(store, TaskQuery()) == [first]


async def test_keys_of_two_owners_are_two_keys(store: Store) -> None:
    key = IdempotencyKey("k", "digest")

    first = await stored(store, "ann", idempotency=key)
    second = await stored(store, "bob", idempotency=key)

    assert first != second


async def test_one_key_used_twenty_times_at_once_makes_one_task(store: Store) -> None:
    key = IdempotencyKey("k", "digest")

    ids = await asyncio.gather(*(stored(store, idempotency=key) for _ in range(20)))

    assert len(set(ids)) == 1
    assert await all_pages(store, TaskQuery()) == ids[:1]


async def test_a_refused_id_leaves_no_key_behind(store: Store) -> None:
    taken = await stored(store)
    key = IdempotencyKey("k", "digest")
    with pytest.raises(Conflict):
        await store.create(a_task(id=taken, idempotency=key))

    made = await stored(store, idempotency=key)

    assert made != taken


async def test_one_refused_task_spoils_none_that_is_created_with_it(store: Store) -> None:
    taken = await stored(store)
    fresh = [new_task_id() for _ in range(30)]
    ids = [*fresh[:15], taken, *fresh[15:]]

    came = await asyncio.gather(*(store.create(a_task(id=i)) for i in ids), return_exceptions=True)

    assert isinstance(came.pop(15), Conflict)
    assert came == fresh
    assert set(await due(store)) == {taken, *fresh}


async def test_a_caller_who_goes_away_breaks_nothing(store: Store) -> None:
    waiting = [asyncio.create_task(stored(store)) for _ in range(20)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()

    came = await asyncio.gather(*waiting, return_exceptions=True)

    kept = {c for c in came if isinstance(c, str)}
    assert len(kept) == 10
    assert kept <= set(await due(store))
    assert await stored(store)


async def test_live_tails_are_shown_in_full_alone(store: Store) -> None:
    claim = await running(store)
    tails = {"executor.0.stdout": "héllo\n\x00", "executor.0.stderr": ""}

    await store.tail(claim.fence, tails)

    assert (await full(store, claim.fence.task_id)).tails == tails
    basic = await store.get(claim.fence.task_id, View.BASIC)
    assert basic is not None
    assert basic.tails == {}


async def test_new_tails_replace_the_old_ones(store: Store) -> None:
    claim = await running(store)
    await store.tail(claim.fence, {"executor.0.stdout": "a", "executor.0.stderr": "b"})

    await store.tail(claim.fence, {"executor.1.stdout": "c"})

    assert (await full(store, claim.fence.task_id)).tails == {"executor.1.stdout": "c"}


async def test_the_tails_of_a_worker_that_lost_its_lease_are_dropped(store: Store) -> None:
    claim = await running(store, seconds=0)
    (adopted,) = await store.adopt(["local"], "other", LONG)
    await store.tail(adopted.fence, {"executor.0.stdout": "new"})

    await store.tail(claim.fence, {"executor.0.stdout": "old"})

    assert (await full(store, claim.fence.task_id)).tails == {"executor.0.stdout": "new"}
