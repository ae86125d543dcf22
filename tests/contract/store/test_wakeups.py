"""No wake-up is missed: what happens between two questions is told by the second."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tesp.store import Change, Store
from tesp.tes.states import Transition
from tests.contract.store.places import Place
from tests.contract.store.samples import LONG, claimed, due, running, stored
from tests.contract.waiting import PATIENCE


async def quiet(store: Store) -> None:
    """Hear of everything that has happened so far."""
    while await store.changed(0.1):
        pass


async def woken(store: Store) -> bool:
    """Wait for news; fails where they come only with the timeout of the question."""
    async with asyncio.timeout(PATIENCE):
        return await store.changed(10 * PATIENCE)


async def test_where_nothing_happens_the_timeout_comes(store: Store) -> None:
    await quiet(store)

    assert not await store.changed(0.05)
    assert not await store.changed(0)


async def _create(store: Store) -> Callable[[], Awaitable[object]]:
    return lambda: stored(store)


async def _cancel_queued(store: Store) -> Callable[[], Awaitable[object]]:
    task_id = await stored(store)
    return lambda: store.cancel(task_id)


async def _cancel_running(store: Store) -> Callable[[], Awaitable[object]]:
    claim = await running(store)
    return lambda: store.cancel(claim.fence.task_id)


async def _end(store: Store) -> Callable[[], Awaitable[object]]:
    claim = await running(store)
    return lambda: store.write(claim.fence, Change(Transition.COMPLETE))


async def _retry(store: Store) -> Callable[[], Awaitable[object]]:
    claim = await running(store)
    return lambda: store.write(claim.fence, Change(Transition.RETRY))


async def _requeue(store: Store) -> Callable[[], Awaitable[object]]:
    claim = await claimed(store)
    return lambda: store.write(claim.fence, Change(Transition.REQUEUE))


CHANGES = [_create, _cancel_queued, _cancel_running, _end, _retry, _requeue]
Prepare = Callable[[Store], Awaitable[Callable[[], Awaitable[object]]]]


@pytest.mark.parametrize("prepare", CHANGES)
async def test_a_change_wakes_the_one_who_waits(store: Store, prepare: Prepare) -> None:
    change = await prepare(store)
    await quiet(store)
    waiting = asyncio.create_task(woken(store))
    await asyncio.sleep(0)

    await change()

    assert await waiting


@pytest.mark.parametrize("prepare", CHANGES)
async def test_a_change_between_two_questions_is_told_by_the_second(
    store: Store, prepare: Prepare
) -> None:
    change = await prepare(store)
    await quiet(store)

    await change()

    assert await woken(store)


@pytest.mark.parametrize("transition", [Transition.RETRY, Transition.REQUEUE])
async def test_a_task_that_becomes_due_wakes_when_it_can_be_claimed(
    store: Store, transition: Transition
) -> None:
    claim = await claimed(store)
    await store.write(claim.fence, Change(transition, delay_seconds=0.4))

    while not (found := await due(store)):
        assert await woken(store)

    assert found == [claim.fence.task_id]


async def test_a_task_that_is_to_start_later_wakes_when_it_can_be_claimed(store: Store) -> None:
    later = await stored(store, delay_seconds=3600.0)
    late = await stored(store, delay_seconds=0.4)
    assert await store.claim(later, "b", "me", 60.0) is None

    while not (found := await due(store)):
        assert await woken(store)

    assert found == [late]


async def test_one_who_gave_up_waiting_takes_no_news_with_him(store: Store) -> None:
    await quiet(store)
    waiting = asyncio.create_task(woken(store))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await stored(store)

    assert await woken(store)


async def test_a_dispatcher_that_sleeps_between_changes_misses_no_task(store: Store) -> None:
    taken: set[str] = set()

    async def dispatch() -> None:
        while len(taken) < 40:
            for task_id in await due(store):
                if await store.claim(task_id, "local", "me", LONG):
                    taken.add(task_id)
            if len(taken) < 40:
                assert await woken(store)

    async def submit() -> list[str]:
        return [await stored(store) for _ in range(40)]

    _, made = await asyncio.gather(dispatch(), submit())

    assert taken == set(made)


async def test_the_first_question_after_reopening_tells_of_queued_tasks(place: Place) -> None:
    store = await place.open()
    await stored(store)
    await store.close()

    store = await place.open()
    try:
        assert await woken(store)
    finally:
        await store.close()


async def test_a_retry_that_comes_due_after_reopening_wakes(place: Place) -> None:
    store = await place.open()
    claim = await running(store)
    await store.write(claim.fence, Change(Transition.RETRY, delay_seconds=0.5))
    await store.close()

    store = await place.open()
    try:
        while not (found := await due(store)):
            assert await woken(store)
        assert found == [claim.fence.task_id]
    finally:
        await store.close()


async def test_a_claim_alone_is_no_news(store: Store) -> None:
    task_id = await stored(store)
    await quiet(store)

    await store.claim(task_id, "local", "me", LONG)
    other = await claimed(store)
    await quiet(store)
    await store.write(other.fence, Change(Transition.START))

    assert not await store.changed(0.05)


async def heard(store: Store) -> bool:
    """Wait for what is written; fails where it comes only with the timeout of the question."""
    async with asyncio.timeout(PATIENCE):
        return await store.written(10 * PATIENCE)


async def _claim(store: Store) -> Callable[[], Awaitable[object]]:
    task_id = await stored(store)
    return lambda: store.claim(task_id, "local", "me", LONG)


async def _start(store: Store) -> Callable[[], Awaitable[object]]:
    claim = await claimed(store)
    return lambda: store.write(claim.fence, Change(Transition.START))


@pytest.mark.parametrize("prepare", [*CHANGES, _claim, _start])
async def test_every_event_is_told_to_the_relay(store: Store, prepare: Prepare) -> None:
    change = await prepare(store)
    while await store.written(0.1):
        pass

    await change()

    assert await heard(store)


async def test_where_nothing_is_written_the_relay_sleeps(store: Store) -> None:
    claim = await running(store)
    while await store.written(0.1):
        pass

    await store.write(claim.fence, Change())
    await store.renew([claim.fence], LONG)
    await store.relay()

    assert not await store.written(0.1)


async def test_the_relay_first_hears_of_what_was_there(place: Place) -> None:
    store = await place.open()
    await stored(store)
    await store.close()

    store = await place.open()
    try:
        assert await heard(store)
    finally:
        await store.close()
