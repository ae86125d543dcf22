"""Events over HTTP: as they happen, from where a client left off, and only those he wants."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tesp.api import Parts
from tesp.api.events import Events
from tesp.settings import ServerSettings
from tesp.store import NewTask
from tesp.store.admission import Admission
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.rules import Limits
from tesp.tes.views import Text
from tests.contract.api.serving import api_over, served
from tests.contract.waiting import until
from tests.peers.event_stream import EventStream, Sent

FUTURE = time.time() + 3600


class Site:
    """The API over a store, and what happens there."""

    def __init__(self, url: str, store: SqliteStore, api: Any) -> None:
        self.url, self.store, self.api = url, store, api

    async def happen(self, name: str | None = "n", **fields: Any) -> str:
        """A task that is made, and relayed."""
        task = NewTask(new_task_id(), "ann", Text('"executors":[]'), name, **fields)
        await self.store.create(task)
        await self.store.relay()
        return task.id

    async def cancel(self, task_id: str) -> None:
        await self.store.cancel(task_id)
        await self.store.relay()

    async def open(self, query: str = "", last_id: str | None = None) -> EventStream:
        return await asyncio.to_thread(EventStream, f"{self.url}/events?{query}", last_id)

    def socket(self, query: str = "", **options: Any) -> connect:
        return connect(f"ws{self.url[4:]}/events/ws?{query}", **options)


@pytest.fixture
async def site(store: SqliteStore) -> AsyncIterator[Site]:
    api = api_over(store)
    async with served(api) as url:
        yield Site(url, store, api)
        # Whoever still follows is let go, as at the service's own end.
        api.state.waiting.end()


async def taken(stream: EventStream, count: int) -> list[Sent]:
    return await asyncio.to_thread(stream.take, count)


async def test_what_happens_is_told_as_tael_tells_it(site: Site) -> None:
    with await site.open() as stream:
        task_id = await site.happen(correlation="c", hops=2)
        (sent,) = await taken(stream, 1)

    (event,) = await site.store.history(task_id)
    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert stream.response.headers["cache-control"] == "no-cache"
    assert (sent.event, sent.id) == ("state", "1")
    assert list(sent.payload)[-1] == "status"
    said = {key: sent.payload[key] for key in ("task", "state", "name", "owner", "status")}
    assert said == {"task": task_id, "state": "QUEUED", "name": "n", "owner": "ann"} | {
        "status": "queued"
    }
    assert sent.payload["message_id"] == event.id
    assert (sent.payload["correlation_id"], sent.payload["hops"]) == ("c", 2)


async def test_who_comes_again_misses_nothing(site: Site) -> None:
    await site.happen()
    with await site.open("after=0") as stream:
        (first,) = await taken(stream, 1)
    ids = [await site.happen() for _ in range(3)]

    with await site.open("after=0", last_id=first.id) as again:
        rest = await taken(again, 3)

    assert [sent.payload["task"] for sent in rest] == ids
    assert [sent.id for sent in rest] == ["2", "3", "4"]


async def test_without_a_place_only_what_comes_now_is_told(site: Site) -> None:
    await site.happen()
    with await site.open() as stream:
        later = await site.happen()
        assert [sent.payload["task"] for sent in await taken(stream, 1)] == [later]


async def test_only_what_is_wanted_is_told(site: Site) -> None:
    one, other = await site.happen("a-1"), await site.happen("b-1")
    third = await site.happen(None)
    for task_id in (one, other, third):
        await site.cancel(task_id)

    async def told(query: str, count: int) -> list[tuple[str, str]]:
        with await site.open(f"after=0&{query}") as stream:
            sent = await taken(stream, count)
        return [(s.payload["task"], s.payload["state"]) for s in sent]

    assert await told(f"task={other}", 2) == [(other, "QUEUED"), (other, "CANCELED")]
    assert await told("state=CANCELED", 3) == [(t, "CANCELED") for t in (one, other, third)]
    assert await told("name_prefix=a-", 2) == [(one, "QUEUED"), (one, "CANCELED")]
    assert await told(f"task={one}&task={third}&state=CANCELED&state=RUNNING", 2) == [
        (one, "CANCELED"),
        (third, "CANCELED"),
    ]


async def test_a_place_that_is_forgotten_is_gone(site: Site) -> None:
    for _ in range(4):
        await site.happen()
    await site.store.forget_events(FUTURE)

    async with httpx.AsyncClient(base_url=site.url) as client:
        header = await client.get("/events", headers={"Last-Event-ID": "2"})
        query = await client.get("/events", params={"after": "0"})
        another = await client.get("/events", params={"after": "5"})
    with await site.open("after=3") as stream:
        (sent,) = await taken(stream, 1)

    assert (header.status_code, query.status_code, another.status_code) == (410, 410, 410)
    assert "those after 3" in header.json()["detail"]
    assert sent.id == "4"


@pytest.mark.parametrize(
    ("query", "field"),
    [("after=x", "after"), ("after=-1", "after"), ("state=DONE", "state"), ("state=", "state")],
)
async def test_a_wish_that_is_none_is_refused(site: Site, query: str, field: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{site.url}/events?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


async def test_head_and_a_plain_get_of_the_socket_end(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as client:
        head = await client.head("/events")
        plain = await client.get("/events/ws")
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    assert plain.status_code == 426


async def test_followers_are_let_go_at_the_end_of_the_service(site: Site) -> None:
    stream = await site.open()
    async with site.socket() as socket:
        site.api.state.waiting.end()
        assert await taken(stream, 1) == []
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert stream.comments[-1] == "the service ends"
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "the service ends")


async def test_a_socket_tells_the_same_with_its_place(site: Site) -> None:
    await site.happen("a")
    async with site.socket("after=0&state=QUEUED") as socket:
        first = json.loads(await socket.recv())
        task_id = await site.happen("b")
        second = json.loads(await socket.recv())

    with await site.open("after=0") as stream:
        sent = await taken(stream, 2)
    assert [first, second] == [{"sequence": int(s.id), **s.payload} for s in sent]
    assert second["task"] == task_id
    assert list(second)[-1] == "status"

    async with site.socket(f"after={first['sequence']}") as again:
        assert json.loads(await again.recv()) == second


@pytest.mark.parametrize(
    ("query", "status"), [("after=x", 400), ("state=DONE", 400), ("after=9", 410)]
)
async def test_a_socket_is_refused_as_a_stream_is(site: Site, query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await site.socket(query)
    answer = refused.value.response
    assert answer.status_code == status
    assert json.loads(answer.body or b"")["status"] == status


async def test_a_page_of_another_origin_cannot_follow_by_socket(site: Site) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await site.socket(origin="https://evil.example")
    assert refused.value.response.status_code == 403

    async with site.socket("after=0", origin=site.url) as socket:
        await site.happen()
        assert json.loads(await socket.recv())["sequence"] == 1


def events_over(store: SqliteStore, over: asyncio.Event, **seconds: float) -> Events:
    """The endpoints with other times than usual."""
    parts = Parts(
        store=store,
        log=store,
        settings=ServerSettings(),
        admission=Admission(Limits(), lambda *_: None),
        storage=lambda: (),
        owner=lambda _: "ann",
    )
    return Events(parts, over, **seconds)


async def test_silence_is_broken_by_beats_that_move_the_place_on(store: SqliteStore) -> None:
    api, over = api_over(store), asyncio.Event()
    api.router.routes[:] = events_over(store, over, beat_seconds=0.1).routes()
    async with served(api) as url:
        site = Site(url, store, api)
        stream = await site.open("after=0&state=CANCELED")
        async with site.socket("after=0&state=CANCELED") as socket:
            await site.happen()
            beat = json.loads(await socket.recv())
            while beat == {"sequence": 0}:
                beat = json.loads(await socket.recv())
            assert beat == {"sequence": 1}
        reading = asyncio.create_task(taken(stream, 1))
        await until(lambda: "nothing new" in stream.comments and stream.last_id == "1")
        over.set()
        assert await reading == []


MANY = 8000  # with long names more than any socket's buffers hold


async def much(store: SqliteStore) -> None:
    """So many events that nobody gets them at once."""
    for _ in range(MANY // 1000):
        await store.create_many(
            [NewTask(new_task_id(), "ann", Text('"executors":[]'), "n" * 1000) for _ in range(1000)]
        )
    while await store.relay():
        pass


async def logged(caplog: pytest.LogCaptureFixture, words: str) -> None:
    deadline = time.monotonic() + 30
    while words not in caplog.text:
        assert time.monotonic() < deadline, words
        await asyncio.sleep(0.02)


async def test_who_takes_nothing_is_cut_off_and_can_resume(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    api, over = api_over(store), asyncio.Event()
    api.router.routes[:] = events_over(store, over, stall_seconds=0.3).routes()
    await much(store)
    async with served(api) as url:
        address = f"{url}/events?after=0"
        stream = await asyncio.to_thread(EventStream, address, room_bytes=4096)
        await logged(caplog, "cut off")
        assert len(await taken(stream, MANY)) == int(stream.last_id)
        api.router.routes[:] = events_over(store, over).routes()
        with await asyncio.to_thread(EventStream, address, stream.last_id) as again:
            rest = await taken(again, MANY - int(stream.last_id))
        over.set()
    assert 0 < int(stream.last_id) < MANY
    numbers = range(int(stream.last_id) + 1, MANY + 1)
    assert [int(sent.id) for sent in rest] == list(numbers)


async def test_a_socket_that_takes_nothing_is_cut_off_and_can_resume(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    api, over = api_over(store), asyncio.Event()
    api.router.routes[:] = events_over(store, over, stall_seconds=0.3).routes()
    await much(store)
    async with served(api) as url:
        site = Site(url, store, api)
        last = 0
        async with site.socket("after=0", max_queue=1, compression=None) as socket:
            await logged(caplog, "come again with after=")
            with pytest.raises(ConnectionClosed):
                while True:
                    last = json.loads(await socket.recv())["sequence"]
        api.router.routes[:] = events_over(store, over).routes()
        async with site.socket(f"after={last}", close_timeout=0.2) as again:
            assert json.loads(await again.recv())["sequence"] == last + 1
        over.set()
    assert 0 < last < MANY
