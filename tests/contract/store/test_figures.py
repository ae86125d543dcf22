"""What the store tells of the service as a whole."""

import time

from tesp.store import Store
from tesp.tes.states import State
from tests.contract.store.samples import stored
from tests.contract.store.test_cursors import filled


async def test_tasks_are_counted_by_their_state(store: Store) -> None:
    assert sum((await store.counts()).values()) == 0
    ids = [await stored(store) for _ in range(3)]
    await store.cancel(ids[0])
    assert await store.claim(ids[1], "local", "me", 60)

    found = await store.counts()

    assert {state: count for state, count in found.items() if count} == {
        State.QUEUED: 1,
        State.INITIALIZING: 1,
        State.CANCELED: 1,
    }


async def test_a_cursor_tells_what_waits_behind_it_and_since_when(store: Store) -> None:
    began = time.time()
    sequences = await filled(store, 5)
    await store.move_cursor("sink:slow", sequences[1])
    await store.move_cursor("sink:fast", sequences[-1])
    entries = await store.read(sequences[1])

    fast, slow = await store.standings()

    assert (fast.name, fast.waiting, fast.oldest) == ("sink:fast", 0, None)
    assert (slow.name, slow.waiting, slow.oldest) == ("sink:slow", 3, entries[0].event.time)
    for standing in (fast, slow):
        assert standing.moved is not None
        assert began - 1 < standing.moved < time.time() + 1


async def test_a_cursor_that_was_only_begun_never_moved(store: Store) -> None:
    await filled(store, 2)
    await store.begin_cursor("sink:new")
    await filled(store, 1)

    (new,) = await store.standings()
    assert (new.waiting, new.moved) == (1, None)

    await store.move_cursor("sink:new", 3)
    (moved,) = await store.standings()
    await store.begin_cursor("sink:new")
    # To touch it is not to move it.
    assert await store.standings() == [moved]
    assert moved.waiting == 0


async def test_what_waits_is_counted_behind_what_was_forgotten(store: Store) -> None:
    sequences = await filled(store, 4)
    await store.move_cursor("sink:a", sequences[2])
    assert await store.forget_events(time.time() + 3600) == 3

    (standing,) = await store.standings()
    assert standing.waiting == 1
    assert standing.oldest is not None


async def test_a_reading_takes_the_place_of_the_one_before(store: Store) -> None:
    assert list(await store.readings()) == []
    await store.note_reading("broker:b", '{"n":1}')
    await store.note_reading("broker:a", "$x")
    await store.note_reading("broker:b", '{"n":2}')

    found = await store.readings()

    assert [(r.name, r.text) for r in found] == [("broker:a", "$x"), ("broker:b", '{"n":2}')]
    assert all(abs(r.time - time.time()) < 60 for r in found)
