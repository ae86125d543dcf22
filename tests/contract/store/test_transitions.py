"""The table of states rules every write; what is absent from it cannot happen."""

import asyncio
import itertools

import pytest

from tesp.store import Attempt, Cancel, Change, Phase, Store, Written
from tesp.tes.models import ExecutorLog, TaskLog
from tesp.tes.states import TABLE, TERMINAL, State, Transition, target
from tesp.tes.views import Text, View, logs_text
from tests.contract.store.samples import (
    LOGS,
    LONG,
    brought_to,
    claimed,
    due,
    full,
    running,
    state_of,
    stored,
)
from tests.contract.waiting import until

REACHED = [s for s in State if s not in (State.UNKNOWN, State.PAUSED)]
LEASED = [State.INITIALIZING, State.RUNNING, State.CANCELING]
OTHER = Text('"name":"other"')


@pytest.mark.parametrize("state", REACHED)
async def test_cancel_follows_the_table(store: Store, state: State) -> None:
    task_id = await brought_to(store, state)
    before = await store.history(task_id)
    to = target(state, Transition.CANCEL)

    came = await store.cancel(task_id)

    assert await state_of(store, task_id) is (to or state)
    assert [e.state for e in await store.history(task_id)] == [
        *(e.state for e in before),
        *([to] if to else []),
    ]
    if state in TERMINAL:
        assert came is Cancel.TERMINAL
    else:
        assert came is (Cancel.ENDED if state is State.QUEUED else Cancel.ASKED)


async def test_cancel_of_an_unknown_task_is_unknown(store: Store) -> None:
    assert await store.cancel("nosuch") is Cancel.UNKNOWN


@pytest.mark.parametrize(
    ("state", "transition"), list(itertools.product(LEASED, Transition)), ids=str
)
async def test_a_workers_write_follows_the_table(
    store: Store, state: State, transition: Transition
) -> None:
    claim = await (running if state is State.RUNNING else claimed)(store)
    task_id = claim.fence.task_id
    if state is State.CANCELING:
        await store.cancel(task_id)
    before = len(await store.history(task_id))
    to = target(state, transition)

    written = await store.write(claim.fence, Change(transition, body=OTHER, logs=LOGS))

    task = await full(store, task_id)
    assert written == Written(to or state, applied=to is not None)
    assert task.state is (to or state)
    logs = "" if transition is Transition.REQUEUE else LOGS.full
    assert (task.body, task.logs) == ((OTHER.full, logs) if to else (claim.body.full, ""))
    assert len(await store.history(task_id)) == before + (to is not None)


@pytest.mark.parametrize("state", sorted(TERMINAL))
async def test_an_ended_task_takes_no_write_no_claim_and_no_renewal(
    store: Store, state: State
) -> None:
    claim = await running(store)
    fence, task_id = claim.fence, claim.fence.task_id
    if state is State.CANCELED:
        await store.cancel(task_id)
    last = next(t for (_, t), to in TABLE.items() if to is state and t is not Transition.CANCEL)
    assert (await store.write(fence, Change(last))).applied
    before = await full(store, task_id)

    for transition in (None, *Transition):
        written = await store.write(fence, Change(transition, logs=LOGS))
        assert written == Written(state, applied=False, lost=True)
    (renewal,) = await store.renew([fence], LONG)

    assert renewal.lost
    assert not renewal.canceling
    assert await store.claim(task_id, "local", "me", LONG) is None
    assert await full(store, task_id) == before


async def test_a_write_after_a_cancel_is_refused_with_the_state_canceling(store: Store) -> None:
    claim = await running(store)
    await store.cancel(claim.fence.task_id)

    written = await store.write(claim.fence, Change(Transition.COMPLETE, logs=LOGS))

    assert written == Written(State.CANCELING, applied=False, lost=False)
    assert (await full(store, claim.fence.task_id)).logs == ""


async def test_a_write_without_a_transition_is_allowed_while_canceling(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id
    await store.cancel(task_id)
    before = await store.history(task_id)

    written = await store.write(claim.fence, Change(logs=LOGS))

    assert written == Written(State.CANCELING, applied=True)
    assert (await full(store, task_id)).logs == LOGS.full
    assert await store.history(task_id) == before


async def test_a_write_of_one_thing_leaves_the_others_as_they_are(store: Store) -> None:
    claim = await running(store, seconds=0, name="n", tags={"a": "b"}, warnings=("w",))
    attempt = Attempt(1, "local", Phase.UPLOADING, "handle", "place", '{"a": 1}')

    await store.write(claim.fence, Change(logs=LOGS))
    await store.write(claim.fence, Change(attempt=attempt))
    await store.write(claim.fence, Change(body=OTHER))
    await store.write(claim.fence, Change())
    (adopted,) = await store.adopt(["local"], "other", LONG)

    assert (adopted.attempt, adopted.logs, adopted.body) == (attempt, LOGS.full, OTHER)
    assert (adopted.name, adopted.warnings, adopted.state) == ("n", ("w",), State.RUNNING)


async def test_logs_that_are_written_again_replace_the_old_ones_in_both_views(
    store: Store,
) -> None:
    claim = await running(store)
    await store.write(claim.fence, Change(logs=LOGS))

    await store.write(claim.fence, Change(logs=Text("[2]")))

    assert (await full(store, claim.fence.task_id)).logs == "[2]"


async def test_number_and_backend_of_an_attempt_stay_what_the_claim_made_them(
    store: Store,
) -> None:
    claim = await running(store, seconds=0)

    await store.write(claim.fence, Change(attempt=Attempt(7, "elsewhere", Phase.CLEANING)))
    (adopted,) = await store.adopt(["local"], "other", LONG)

    assert adopted.attempt == Attempt(1, "local", Phase.CLEANING)


async def test_a_write_to_a_task_that_is_not_there_is_lost(store: Store) -> None:
    claim = await running(store)
    fence = type(claim.fence)("nosuch", claim.fence.epoch)

    written = await store.write(fence, Change(Transition.COMPLETE))

    assert written == Written(State.UNKNOWN, applied=False, lost=True)


async def test_the_end_of_a_task_takes_its_tails_and_its_lease(store: Store) -> None:
    claim = await running(store, seconds=0)
    await store.tail(claim.fence, {"executor.0.stdout": "so far"})

    await store.write(claim.fence, Change(Transition.COMPLETE, logs=LOGS))
    await store.tail(claim.fence, {"executor.0.stdout": "too late"})

    task = await full(store, claim.fence.task_id)
    assert (task.state, task.logs, task.tails) == (State.COMPLETE, LOGS.full, {})
    assert await store.adopt(["local"], "other", LONG) == []


async def test_a_retry_queues_the_task_again_with_a_fresh_attempt(store: Store) -> None:
    claim = await running(store)
    task_id = claim.fence.task_id
    attempt = Attempt(1, "local", Phase.CLEANING, "handle", "place", "{}")
    await store.write(claim.fence, Change(attempt=attempt))
    await store.tail(claim.fence, {"executor.0.stdout": "so far"})

    written = await store.write(claim.fence, Change(Transition.RETRY, attempt=attempt, logs=LOGS))

    assert written == Written(State.QUEUED, applied=True)
    assert (await full(store, task_id)).tails == {}
    assert await due(store) == [task_id]
    again = await store.claim(task_id, "pulsar", "me", LONG)
    assert again is not None
    assert again.attempt == Attempt(2, "pulsar", Phase.STAGING)
    assert again.logs == LOGS.full
    assert again.fence.epoch > claim.fence.epoch


async def test_the_lease_of_an_attempt_that_is_retried_is_over(store: Store) -> None:
    claim = await running(store, seconds=0)
    await store.write(claim.fence, Change(Transition.RETRY))

    (renewal,) = await store.renew([claim.fence], LONG)
    written = await store.write(claim.fence, Change(Transition.COMPLETE))

    assert renewal.lost
    assert written == Written(State.QUEUED, applied=False, lost=True)
    assert await store.adopt(["local"], "other", LONG) == []


async def test_a_requeue_queues_the_same_attempt_again_as_if_it_had_not_begun(
    store: Store,
) -> None:
    claim = await claimed(store, seconds=0)
    task_id = claim.fence.task_id
    attempt = Attempt(1, "local", Phase.SUBMITTING, "handle", "place", "{}")
    await store.write(claim.fence, Change(attempt=attempt, logs=LOGS))
    await store.tail(claim.fence, {"executor.0.stdout": "so far"})

    written = await store.write(claim.fence, Change(Transition.REQUEUE, reason="No room."))

    assert written == Written(State.QUEUED, applied=True)
    task = await full(store, task_id)
    assert (task.logs, task.tails) == ("", {})
    assert await due(store) == [task_id]
    assert await store.adopt(["local"], "other", LONG) == []
    last = (await store.history(task_id))[-1]
    assert (last.state, last.attempt, last.reason) == (State.QUEUED, 1, "No room.")
    again = await store.claim(task_id, "pulsar", "me", LONG)
    assert again is not None
    assert (again.attempt, again.logs) == (Attempt(1, "pulsar", Phase.STAGING), "")
    assert again.fence.epoch > claim.fence.epoch


@pytest.mark.parametrize("size", [10, 3 << 20])
async def test_a_requeue_keeps_the_logs_of_earlier_attempts(store: Store, size: int) -> None:
    first = TaskLog(logs=[ExecutorLog(exit_code=1, stdout="x" * size)], system_logs=["first"])
    second = TaskLog(system_logs=["2" * size])
    claim = await running(store)
    task_id = claim.fence.task_id
    await store.write(claim.fence, Change(Transition.RETRY, logs=logs_text([first])))
    again = await store.claim(task_id, "local", "me", LONG)
    assert again is not None
    await store.write(again.fence, Change(logs=logs_text([first, second])))

    await store.write(again.fence, Change(Transition.REQUEUE))

    basic = await store.get(task_id, View.BASIC)
    assert basic is not None
    assert (await full(store, task_id)).logs == logs_text([first]).full
    assert basic.logs == logs_text([first]).of(View.BASIC)
    third = await store.claim(task_id, "local", "me", LONG)
    assert third is not None
    assert (third.attempt.number, third.logs) == (2, logs_text([first]).full)


async def test_a_requeued_task_is_due_again_after_its_delay(store: Store) -> None:
    later, soon = await claimed(store), await claimed(store)

    await store.write(later.fence, Change(Transition.REQUEUE, delay_seconds=3600.0))
    await store.write(soon.fence, Change(Transition.REQUEUE, delay_seconds=0.2))

    assert await store.claim(later.fence.task_id, "local", "me", LONG) is None
    assert await until(lambda: due(store)) == [soon.fence.task_id]


async def test_of_a_cancel_and_an_end_at_once_one_comes_first(store: Store) -> None:
    for _ in range(10):
        claim = await running(store)
        came, written = await asyncio.gather(
            store.cancel(claim.fence.task_id),
            store.write(claim.fence, Change(Transition.COMPLETE)),
        )

        state = await state_of(store, claim.fence.task_id)
        if written.applied:
            assert (came, state) == (Cancel.TERMINAL, State.COMPLETE)
        else:
            assert (came, state) == (Cancel.ASKED, State.CANCELING)


async def test_of_a_cancel_and_a_claim_at_once_nothing_is_lost(store: Store) -> None:
    for _ in range(10):
        task_id = await stored(store)
        came, claim = await asyncio.gather(
            store.cancel(task_id), store.claim(task_id, "local", "me", LONG)
        )

        state = await state_of(store, task_id)
        assert (came, claim is None, state) in (
            (Cancel.ENDED, True, State.CANCELED),
            (Cancel.ASKED, False, State.CANCELING),
        )
