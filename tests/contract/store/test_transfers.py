"""What a store keeps for the job's own side: a secret, the current attempt, sentences."""

import asyncio

import pytest

from tesp.store import Change, Claim, Current, Store
from tesp.tes.states import State, Transition
from tesp.tes.views import Text
from tests.contract.store.places import Place
from tests.contract.store.samples import (
    BODY,
    LONG,
    brought_to,
    claimed,
    running,
    stored,
)


async def test_a_secret_is_made_once_and_is_the_same_for_ever(place: Place) -> None:
    store = await place.open()
    seen = await asyncio.gather(*(store.secret("files") for _ in range(10)))
    other = await store.secret("other")
    await store.close()
    store = await place.open()
    again = await store.secret("files")
    await store.close()

    assert {*seen, again} == {seen[0]}
    assert (len(seen[0]), len(other)) == (32, 32)
    assert other != seen[0]


async def test_the_current_attempt_is_the_one_that_is_being_worked_on(store: Store) -> None:
    claim = await claimed(store)
    task_id = claim.fence.task_id

    assert await store.current(task_id) == Current(State.INITIALIZING, 1, BODY)
    await store.write(claim.fence, Change(Transition.START))
    assert await store.current(task_id) == Current(State.RUNNING, 1, BODY)


async def test_the_current_attempt_is_the_last_one(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id
    await store.write(claim.fence, Change(Transition.RETRY))
    assert await store.current(task_id) is None
    await store.claim(task_id, "local", "me", LONG)

    assert await store.current(task_id) == Current(State.INITIALIZING, 2, BODY)


@pytest.mark.parametrize("size", [10, 3 << 20])
async def test_the_body_of_the_current_attempt_is_whole(store: Store, size: int) -> None:
    body = Text(f'"description":"{"x" * size}"', '"description":"x"')
    claim = await claimed(store, body=body)

    current = await store.current(claim.fence.task_id)

    assert current is not None
    assert current.body == body


@pytest.mark.parametrize(
    "state", [s for s in State if s not in (State.UNKNOWN, State.PAUSED, State.INITIALIZING)]
)
async def test_a_task_that_nobody_is_to_work_on_has_no_current_attempt(
    store: Store, state: State
) -> None:
    task_id = await brought_to(store, state)

    assert (await store.current(task_id) is None) == (state is not State.RUNNING)


async def test_an_unknown_task_has_no_current_attempt(store: Store) -> None:
    assert await store.current("nosuch") is None


async def test_the_remarks_on_an_attempt_are_kept_once_each_in_order(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id
    before = await store.history(task_id)

    for sentence in ("$b", "a", "$b", "'c' é", "a"):
        await store.remark(task_id, 1, sentence)

    assert await store.remarks(task_id, 1) == ["$b", "a", "'c' é"]
    assert await store.remarks(task_id, 2) == []
    assert await store.history(task_id) == before


async def test_no_more_than_a_hundred_remarks_are_kept(store: Store) -> None:
    claim = await running(store)

    for number in range(102):
        await store.remark(claim.fence.task_id, 1, f"{number}")

    assert len(await store.remarks(claim.fence.task_id, 1)) == 100


async def test_remarks_on_another_attempt_or_none_are_not_kept(store: Store) -> None:
    claim = await running(store)
    queued = await stored(store)

    await store.remark(claim.fence.task_id, 2, "too early")
    await store.remark(queued, 1, "not begun")
    await store.remark("nosuch", 1, "no task")

    for task_id, number in ((claim.fence.task_id, 1), (claim.fence.task_id, 2), (queued, 1)):
        assert await store.remarks(task_id, number) == []


async def _complete(store: Store, claim: Claim) -> None:
    await store.write(claim.fence, Change(Transition.START))
    await store.write(claim.fence, Change(Transition.COMPLETE))


async def _requeue(store: Store, claim: Claim) -> None:
    await store.write(claim.fence, Change(Transition.REQUEUE))
    await store.claim(claim.fence.task_id, "local", "me", LONG)


async def _retry(store: Store, claim: Claim) -> None:
    await store.write(claim.fence, Change(Transition.RETRY))


@pytest.mark.parametrize("end", [_complete, _requeue, _retry])
async def test_the_remarks_go_with_the_attempt(store: Store, end) -> None:  # type: ignore[no-untyped-def]
    claim = await claimed(store)
    await store.remark(claim.fence.task_id, 1, "said")

    await end(store, claim)

    assert await store.remarks(claim.fence.task_id, 1) == []


async def test_the_remarks_stay_for_whoever_adopts_the_attempt(store: Store) -> None:
    claim = await running(store, seconds=0)
    await store.remark(claim.fence.task_id, 1, "said")

    assert len(await store.adopt(["local"], "other", LONG)) == 1
    await store.write(claim.fence, Change(logs=Text("[]")))

    assert await store.remarks(claim.fence.task_id, 1) == ["said"]


async def test_a_candidate_has_its_tags(store: Store) -> None:
    tags = {"site": "north", "a.b": "$x", "empty": "", "é": "'"}
    tagged = await stored(store, tags=tags)
    plain = await stored(store)

    found = {c.task_id: c.tags for c in await store.queued(10)}

    assert found == {tagged: tags, plain: {}}
