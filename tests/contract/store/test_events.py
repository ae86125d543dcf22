"""What the log of events promises: every change once, in order, after it was relayed."""

import asyncio
import time

from tesp.store import Change, Logged, Store
from tesp.tes.states import State, Transition
from tests.contract.store.places import Place
from tests.contract.store.samples import LOGS, LONG, claimed, running, stored


async def logged(store: Store) -> list[Logged]:
    """The whole log, read in small pieces."""
    found: list[Logged] = []
    while piece := await store.read(found[-1].sequence if found else 0, limit=7):
        assert len(piece) <= 7
        found.extend(piece)
    return found


async def relayed(store: Store) -> int:
    """Relay all there is; how many events."""
    total = 0
    while moved := await store.relay(limit=10):
        assert moved <= 10
        total += moved
    return total


async def test_creation_is_the_first_event(store: Store) -> None:
    before = time.time()
    task_id = await stored(store, "ann", name="n")

    (event,) = await store.history(task_id)

    assert (event.task, event.number, event.state) == (task_id, 1, State.QUEUED)
    assert (event.owner, event.name, event.attempt, event.reason) == ("ann", "n", 1, None)
    assert before - 1 <= event.time <= time.time() + 1


async def test_every_change_of_state_is_one_event_with_attempt_and_reason(store: Store) -> None:
    claim = await running(store, owner="ann", name="n")
    task_id = claim.fence.task_id
    await store.write(claim.fence, Change(logs=LOGS))
    await store.write(claim.fence, Change(Transition.RETRY, reason="the node died"))
    again = await store.claim(task_id, "local", "me", LONG)
    assert again is not None
    await store.write(again.fence, Change(Transition.CLAIM, reason="refused"))
    await store.write(again.fence, Change(Transition.START))
    await store.cancel(task_id)
    await store.cancel(task_id)
    await store.write(again.fence, Change(Transition.END_CANCEL, reason="as\nasked"))

    events = await store.history(task_id)

    assert [(e.number, e.state, e.attempt, e.reason) for e in events] == [
        (1, State.QUEUED, 1, None),
        (2, State.INITIALIZING, 1, None),
        (3, State.RUNNING, 1, None),
        (4, State.QUEUED, 2, "the node died"),
        (5, State.INITIALIZING, 2, None),
        (6, State.RUNNING, 2, None),
        (7, State.CANCELING, 2, None),
        (8, State.CANCELED, 2, "as\nasked"),
    ]
    assert {(e.task, e.owner, e.name) for e in events} == {(task_id, "ann", "n")}
    assert [e.time for e in events] == sorted(e.time for e in events)


async def test_an_event_is_in_the_log_only_after_it_was_relayed(store: Store) -> None:
    task_id = await stored(store)
    assert await store.read(0) == []

    assert await store.relay() == 1

    (entry,) = await store.read(0)
    assert [entry.event] == await store.history(task_id)
    assert await store.read(entry.sequence) == []
    assert await store.relay() == 0


async def test_the_log_has_every_event_once_and_each_tasks_in_order(store: Store) -> None:
    claims = await asyncio.gather(*(running(store) for _ in range(10)))
    await asyncio.gather(*(store.cancel(c.fence.task_id) for c in claims))

    assert await relayed(store) == 40

    log = await logged(store)
    assert [e.sequence for e in log] == sorted({e.sequence for e in log})
    for claim in claims:
        mine = [e.event for e in log if e.event.task == claim.fence.task_id]
        assert mine == await store.history(claim.fence.task_id)
        assert [e.number for e in mine] == [1, 2, 3, 4]


async def test_a_reader_that_follows_the_log_misses_nothing_that_is_written_meanwhile(
    store: Store,
) -> None:
    seen: list[Logged] = []

    async def follow() -> None:
        while len(seen) < 60:
            await store.relay(limit=7)
            seen.extend(await store.read(seen[-1].sequence if seen else 0, limit=11))

    await asyncio.gather(follow(), *(running(store) for _ in range(20)))

    assert seen == await logged(store)
    assert len({e.event.id for e in seen}) == 60


async def test_the_id_of_an_event_is_the_same_in_log_and_history(store: Store) -> None:
    claim = await claimed(store)
    await relayed(store)

    log, history = await store.read(0), await store.history(claim.fence.task_id)

    assert [e.event.id for e in log] == [e.id for e in history]
    assert len({e.id for e in history}) == 2


async def test_log_and_outbox_survive_reopening(place: Place) -> None:
    store = await place.open()
    first = await stored(store)
    await store.relay()
    (entry,) = await store.read(0)
    second = await stored(store)
    await store.close()

    store = await place.open()
    try:
        assert await store.read(0) == [entry]
        assert await store.relay() == 1
        assert [e.event.task for e in await store.read(0)] == [first, second]
        assert [e.event.task for e in await store.read(entry.sequence)] == [second]
    finally:
        await store.close()
