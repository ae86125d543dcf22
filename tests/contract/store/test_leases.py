"""What leases promise: one owner at a time, and a fence against all earlier ones."""

import asyncio

import pytest

from tesp.store import Attempt, Change, Fence, Phase, Renewal, Store, Written
from tesp.tes.states import State, Transition
from tests.contract.store.places import Place
from tests.contract.store.samples import (
    GONE,
    LOGS,
    LONG,
    claimed,
    due,
    full,
    ids_in_order,
    running,
    state_of,
    stored,
)
from tests.contract.waiting import until


async def test_of_a_hundred_claims_at_once_one_wins(store: Store) -> None:
    task_id = await stored(store)

    claims = await asyncio.gather(
        *(store.claim(task_id, "local", f"holder{i}", LONG) for i in range(100))
    )

    assert len([c for c in claims if c]) == 1
    assert [e.state for e in await store.history(task_id)] == [State.QUEUED, State.INITIALIZING]


async def test_a_claim_begins_an_attempt_at_its_backend(store: Store) -> None:
    claim = await claimed(store)

    assert claim.attempt == Attempt(1, "local", Phase.STAGING)
    assert await state_of(store, claim.fence.task_id) is State.INITIALIZING
    assert await due(store) == []


async def test_a_task_that_is_not_due_cannot_be_claimed(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id
    await store.write(claim.fence, Change(Transition.RETRY, delay_seconds=LONG))

    assert await due(store) == []
    assert await store.claim(task_id, "local", "me", LONG) is None
    assert await state_of(store, task_id) is State.QUEUED


async def test_a_retried_task_is_due_again_after_its_delay(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id

    await store.write(claim.fence, Change(Transition.RETRY, delay_seconds=0.2))

    assert await until(lambda: due(store)) == [task_id]
    assert await store.claim(task_id, "local", "me", LONG) is not None


async def test_a_lease_that_has_not_run_out_is_not_adopted(store: Store) -> None:
    await running(store)

    assert await store.adopt(["local"], "other", LONG) == []


async def test_only_attempts_of_the_named_backends_are_adopted(store: Store) -> None:
    await running(store, seconds=0)

    assert await store.adopt([], "other", LONG) == []
    assert await store.adopt(["pulsar"], "other", LONG) == []
    assert len(await store.adopt(["pulsar", "local"], "other", LONG)) == 1


@pytest.mark.parametrize("state", [State.INITIALIZING, State.RUNNING, State.CANCELING])
async def test_an_adopter_carries_on_where_the_attempt_stands(store: Store, state: State) -> None:
    claim = await (claimed if state is State.INITIALIZING else running)(store, seconds=0)
    task_id = claim.fence.task_id
    attempt = Attempt(1, "local", Phase.SUBMITTING, "handle", "place", '{"x":"é"}')
    await store.write(claim.fence, Change(attempt=attempt, logs=LOGS))
    if state is State.CANCELING:
        await store.cancel(task_id)
    before = await store.history(task_id)

    (adopted,) = await store.adopt(["local"], "other", LONG)

    assert (adopted.state, adopted.attempt, adopted.logs) == (state, attempt, LOGS.full)
    assert adopted.fence.epoch > claim.fence.epoch
    assert await store.history(task_id) == before
    assert await store.adopt(["local"], "third", LONG) == []


async def test_of_many_adopters_at_once_each_attempt_has_one(store: Store) -> None:
    tasks = {(await running(store, seconds=0)).fence.task_id for _ in range(10)}

    came = await asyncio.gather(*(store.adopt(["local"], f"h{i}", LONG) for i in range(10)))

    adopted = [claim.fence.task_id for claims in came for claim in claims]
    assert sorted(adopted) == sorted(tasks)


async def test_no_more_than_the_limit_is_adopted_at_once(store: Store) -> None:
    for _ in range(5):
        await running(store, seconds=0)

    counts = [len(await store.adopt(["local", "x"], "other", LONG, limit=2)) for _ in range(4)]

    assert counts == [2, 2, 1, 0]


async def test_a_fenced_worker_can_do_nothing_more(store: Store) -> None:
    claim = await running(store, seconds=GONE)
    (adopted,) = await until(lambda: store.adopt(["local"], "other", LONG))
    before = await full(store, claim.fence.task_id)

    for change in (Change(Transition.COMPLETE), Change(Transition.RETRY), Change(logs=LOGS)):
        written = await store.write(claim.fence, change)
        assert written == Written(State.RUNNING, applied=False, lost=True)
    assert await store.renew([claim.fence], LONG) == [Renewal(claim.fence, lost=True)]

    assert await full(store, claim.fence.task_id) == before
    assert (await store.write(adopted.fence, Change(Transition.COMPLETE))).applied


async def test_a_lease_that_ran_out_is_its_owners_until_it_is_adopted(store: Store) -> None:
    claim = await running(store, seconds=0)

    assert await store.renew([claim.fence], LONG) == [Renewal(claim.fence)]
    assert await store.adopt(["local"], "other", LONG) == []
    assert (await store.write(claim.fence, Change(Transition.COMPLETE))).applied


async def test_a_renewed_lease_lasts_and_one_renewed_for_nothing_is_given_back(
    store: Store,
) -> None:
    claim = await running(store, seconds=LONG)

    await store.renew([claim.fence], 0)

    assert len(await store.adopt(["local"], "other", LONG)) == 1


async def test_a_renewal_brings_back_the_wish_to_cancel(store: Store) -> None:
    one, two = await running(store), await running(store)
    await store.cancel(two.fence.task_id)
    unknown = Fence("nosuch", 1)

    renewals = await store.renew([unknown, two.fence, one.fence], LONG)

    assert renewals == [
        Renewal(unknown, lost=True),
        Renewal(two.fence, canceling=True),
        Renewal(one.fence),
    ]
    assert await store.renew([], LONG) == []


async def test_a_renewal_writes_no_event_and_changes_no_text(store: Store) -> None:
    claim = await running(store)
    before = await full(store, claim.fence.task_id), await store.history(claim.fence.task_id)

    await store.renew([claim.fence], LONG)

    after = await full(store, claim.fence.task_id), await store.history(claim.fence.task_id)
    assert after == before


async def test_epochs_rise_with_every_owner(store: Store) -> None:
    claim = await running(store, seconds=0)
    epochs = [claim.fence.epoch]
    for _ in range(3):
        (adopted,) = await store.adopt(["local"], "other", 0)
        epochs.append(adopted.fence.epoch)

    assert epochs == sorted(set(epochs))


async def test_due_tasks_come_oldest_first_and_bounded_for_each_owner(store: Store) -> None:
    owners = ("ann", "bob", "cat")
    made = {o: [await stored(store, o, id=i) for i in ids_in_order(3)] for o in owners}

    found = await store.queued(per_owner=2)

    assert {c.owner for c in found} == set(made)
    for owner, ids in made.items():
        assert [c.task_id for c in found if c.owner == owner] == ids[:2]


async def test_a_retried_task_comes_after_those_that_wait_longer(store: Store) -> None:
    claim = await running(store)
    waiting = await stored(store)
    await store.write(claim.fence, Change(Transition.RETRY, delay_seconds=0.05))

    async def both() -> list[str]:
        found = await due(store)
        return found if len(found) == 2 else []

    assert await until(both) == [waiting, claim.fence.task_id]


async def test_owners_that_were_left_out_come_first_in_the_next_call(store: Store) -> None:
    owners = [f"owner{i}" for i in range(7)]
    for owner in owners:
        await stored(store, owner)

    rounds = [{c.owner for c in await store.queued(1, owners=2)} for _ in range(4)]

    assert [len(r) for r in rounds] == [2, 2, 2, 2]
    assert set().union(*rounds) == set(owners)


async def test_an_owner_whose_tasks_are_not_due_takes_no_turn(store: Store) -> None:
    claim = await running(store, owner="ann")
    await store.write(claim.fence, Change(Transition.RETRY, delay_seconds=LONG))
    ready = await stored(store, "bob")

    assert [c.task_id for c in await store.queued(1, owners=1)] == [ready]


async def test_a_named_lease_has_one_holder_at_a_time(store: Store) -> None:
    came = await asyncio.gather(*(store.hold("relay", f"h{i}", LONG) for i in range(10)))
    assert came.count(True) == 1
    holder = f"h{came.index(True)}"

    assert await store.hold("relay", holder, LONG)
    assert not await store.hold("relay", "another", LONG)
    assert await store.hold("pulsar", "another", LONG)


async def test_a_named_lease_that_ran_out_or_was_given_back_is_free(store: Store) -> None:
    await store.hold("relay", "one", GONE)
    assert await until(lambda: store.hold("relay", "two", LONG))
    assert not await store.hold("relay", "one", LONG)

    assert await store.hold("relay", "two", 0)

    assert await store.hold("relay", "one", LONG)


async def test_an_attempt_survives_reopening_and_is_adopted(place: Place) -> None:
    store = await place.open()
    claim = await running(store, seconds=0)
    await store.close()

    store = await place.open()
    try:
        (adopted,) = await store.adopt(["local"], "other", LONG)
        assert adopted.fence.task_id == claim.fence.task_id
        assert (await store.write(claim.fence, Change(logs=LOGS))).lost
    finally:
        await store.close()


async def test_backends_with_attempts_that_nobody_holds_are_known(store: Store) -> None:
    fences = []
    for backend in ("one", "two", "two", "three"):
        claim = await store.claim(await stored(store), backend, "me", LONG)
        assert claim is not None
        fences.append(claim.fence)
    assert await store.stranded() == []

    await store.renew(fences[:3], 0)

    assert sorted(await store.stranded()) == ["one", "two"]
