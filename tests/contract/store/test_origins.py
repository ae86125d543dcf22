"""What a task brought along is told with each of its events."""

from tesp.store import Change, Store
from tesp.tes.states import Transition
from tests.contract.store.places import Place
from tests.contract.store.samples import claimed, stored

URL = "https://hooks.example.org/x?a=$b"


async def test_without_a_wider_one_the_task_is_the_correlation(store: Store) -> None:
    claim = await claimed(store)
    task_id = claim.fence.task_id
    await store.relay()

    told = [*await store.history(task_id), *(e.event for e in await store.read(0))]

    assert [(e.correlation, e.hops, e.callback) for e in told] == [(task_id, 0, None)] * 4


async def test_correlation_hops_and_callback_go_with_every_event(store: Store) -> None:
    claim = await claimed(store, correlation="$alert 7", hops=3, callback=URL)
    task_id = claim.fence.task_id
    await store.write(claim.fence, Change(Transition.START))
    await store.cancel(task_id)
    await store.write(claim.fence, Change(Transition.END_CANCEL))
    await store.relay()

    told = [e.event for e in await store.read(0)]

    assert [(e.correlation, e.hops, e.callback) for e in told] == [("$alert 7", 3, URL)] * 5
    assert told == await store.history(task_id)


async def test_a_canceled_task_tells_its_correlation_too(store: Store) -> None:
    task_id = await stored(store, correlation="c", hops=8)
    await store.cancel(task_id)

    assert [(e.correlation, e.hops) for e in await store.history(task_id)] == [("c", 8)] * 2


async def test_an_event_without_a_name_is_told_from_one_with_an_empty_name(store: Store) -> None:
    tasks = {await stored(store, name=name): name for name in (None, "")}
    await store.relay()

    assert {e.event.task: e.event.name for e in await store.read(0)} == tasks


async def test_what_a_task_brought_along_survives_reopening(place: Place) -> None:
    store = await place.open()
    task_id = await stored(store, correlation="c", hops=2, callback=URL)
    await store.close()

    store = await place.open()
    try:
        (event,) = await store.history(task_id)
        assert (event.correlation, event.hops, event.callback) == ("c", 2, URL)
    finally:
        await store.close()
