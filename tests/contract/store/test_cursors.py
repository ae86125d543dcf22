"""What cursors promise, and what is forgotten behind them."""

import asyncio
import time

from tesp.store import Store
from tests.contract.store.places import Place
from tests.contract.store.samples import stored

FUTURE = time.time() + 3600


async def filled(store: Store, count: int) -> list[int]:
    """The sequences of a log of some events."""
    for _ in range(count):
        await stored(store)
    await store.relay()
    return [entry.sequence for entry in await store.read(0)]


async def test_a_new_cursor_stands_before_the_log(store: Store) -> None:
    await filled(store, 2)
    assert await store.cursor("sink:new") == 0


async def test_a_cursor_that_is_begun_stands_at_the_end_and_stays_there(store: Store) -> None:
    sequences = await filled(store, 3)

    assert await store.begin_cursor("sink:a") == sequences[-1]
    more = await filled(store, 2)

    assert await store.begin_cursor("sink:a") == sequences[-1]
    assert [e.sequence for e in await store.read(await store.cursor("sink:a"))] == more[-2:]


async def test_a_cursor_that_is_begun_over_an_empty_log_misses_nothing(store: Store) -> None:
    assert await store.begin_cursor("sink:a") == 0
    await filled(store, 2)
    assert await store.begin_cursor("sink:a") == 0


async def test_a_cursor_never_moves_back(store: Store) -> None:
    await store.move_cursor("sink:a", 7)
    await store.move_cursor("sink:a", 5)
    await store.move_cursor("sink:b", 2)

    assert (await store.cursor("sink:a"), await store.cursor("sink:b")) == (7, 2)


async def test_the_farthest_of_moves_at_the_same_time_holds(store: Store) -> None:
    await asyncio.gather(*(store.move_cursor("sink:a", n) for n in (3, 9, 1, 8, 2)))
    assert await store.cursor("sink:a") == 9


async def test_cursors_survive_reopening(place: Place) -> None:
    store = await place.open()
    await store.move_cursor("sink:a", 4)
    await store.close()

    store = await place.open()
    try:
        assert await store.cursor("sink:a") == 4
    finally:
        await store.close()


async def test_what_is_young_is_kept(store: Store) -> None:
    sequences = await filled(store, 3)

    assert await store.forget_events(time.time() - 3600) == 0

    assert [e.sequence for e in await store.read(0)] == sequences
    assert await store.first() == sequences[0] == 1


async def test_what_is_old_is_forgotten_but_for_the_last(store: Store) -> None:
    sequences = await filled(store, 4)

    assert await store.forget_events(FUTURE) == 3

    assert [e.sequence for e in await store.read(0)] == sequences[-1:]
    assert await store.first() == sequences[-1]


async def test_the_log_goes_on_where_it_was_after_all_was_forgotten(store: Store) -> None:
    sequences = await filled(store, 3)
    await store.forget_events(FUTURE)

    await filled(store, 1)

    assert await store.end() == sequences[-1] + 1
    assert [e.sequence for e in await store.read(0)] == [sequences[-1], sequences[-1] + 1]


async def test_nothing_behind_a_cursor_is_forgotten(store: Store) -> None:
    sequences = await filled(store, 6)
    await store.move_cursor("sink:fast", sequences[4])
    await store.move_cursor("sink:slow", sequences[1])

    assert await store.forget_events(FUTURE) == 2
    assert [e.sequence for e in await store.read(0)] == sequences[2:]

    await store.move_cursor("sink:slow", sequences[3])
    assert await store.forget_events(FUTURE) == 2
    assert await store.first() == sequences[4]


async def test_what_was_not_relayed_is_not_forgotten(store: Store) -> None:
    await filled(store, 1)
    waiting = await stored(store)

    await store.forget_events(FUTURE)

    assert await store.relay() == 1
    assert [e.event.task for e in await store.read(0)][-1] == waiting
    assert len(await store.history(waiting)) == 1


async def test_the_history_of_a_task_goes_on_after_its_beginning_was_forgotten(
    store: Store,
) -> None:
    task_id = await stored(store)
    await filled(store, 1)
    await store.forget_events(FUTURE)
    await store.cancel(task_id)

    assert [e.number for e in await store.history(task_id)][-1] == 2


async def test_an_empty_log_begins_with_one(store: Store) -> None:
    assert await store.first() == 1
    assert await store.forget_events(FUTURE) == 0


async def test_a_cursor_that_nobody_touches_any_more_is_dropped(store: Store) -> None:
    sequences = await filled(store, 3)
    await store.move_cursor("sink:gone", sequences[0])

    assert await store.forget_cursors(time.time() - 3600) == 0
    assert await store.cursor("sink:gone") == sequences[0]
    assert await store.forget_cursors(FUTURE) == 1

    assert await store.cursor("sink:gone") == 0
    assert await store.forget_events(FUTURE) == 2


async def test_to_begin_a_cursor_again_touches_it(store: Store) -> None:
    await store.begin_cursor("sink:a")
    await asyncio.sleep(0.05)
    # A store's clock may count in milliseconds.
    between = time.time() - 0.02
    await store.begin_cursor("sink:a")

    assert await store.forget_cursors(between) == 0
