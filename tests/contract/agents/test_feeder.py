"""Feeders: nothing is lost, everything is in order, and no sink is in the way of another."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tesp.agents import cursor_of
from tesp.agents.bus_sink import BusSink
from tesp.agents.feeder import Feeder
from tesp.bus import tael
from tesp.bus.memory import MemoryBus
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.store import Logged, NewTask
from tesp.tes.identifiers import new_task_id
from tesp.tes.views import Text
from tests.contract.agents.log_room import LogRoom
from tests.contract.waiting import until


class Taker:
    """A sink in memory that does as it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[Logged] = []
        self.batches = 0
        self.error: Exception | None = None
        self.bad: set[int] = set()
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, events: Sequence[Logged]) -> None:
        self.batches += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error
        if self.bad & {entry.sequence for entry in events}:
            raise MessageRefused("one of them is at fault")
        self.got.extend(events)

    async def close(self) -> None:
        self.open.set()

    @property
    def sequences(self) -> list[int]:
        return [entry.sequence for entry in self.got]


class Room(LogRoom):
    """Feeders over a log."""

    async def happen(self, count: int) -> None:
        """Events of as many tasks."""
        await self.add(
            *(NewTask(new_task_id(), "ann", Text('"executors":[]'), "n") for _ in range(count))
        )

    def feed(self, sink: Taker | BusSink, holder: str = "me", seconds: float = 60) -> None:
        """`seconds`: of the lease; three times in that time who has it not asks for it."""
        feeder = Feeder(sink, self.store, self.news, holder, seconds)
        self.begin(f"{holder}/{sink.name}", feeder.run())

    async def begun(self, sink: Taker) -> None:
        """The sink has its place in the log."""
        await self.store.begin_cursor(cursor_of(sink.name))


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    async with Room.opened(tmp_path) as opened:
        yield opened


async def test_a_sink_gets_everything_in_order_and_the_cursor_follows(room: Room) -> None:
    sink = Taker("a")
    await room.begun(sink)
    room.feed(sink)
    for _ in range(5):
        await room.happen(30)

    await until(lambda: len(sink.got) >= 150)

    assert sink.sequences == list(range(1, 151))

    async def moved() -> bool:
        return await room.store.cursor("sink:a") == 150

    await until(moved)


async def test_a_new_sink_hears_of_what_comes_and_not_of_what_was(room: Room) -> None:
    await room.happen(3)
    sink = Taker("a")
    room.feed(sink)

    async def begun() -> bool:
        return await room.store.cursor("sink:a") == 3

    await until(begun)
    await room.happen(2)

    await until(lambda: len(sink.got) == 2)
    assert sink.sequences == [4, 5]


@pytest.mark.parametrize(
    "error", [BusUnavailable("away"), BusRefused("wrong password")], ids=["away", "refused"]
)
async def test_what_could_not_be_sent_waits_in_the_log(room: Room, error: Exception) -> None:
    sink, other = Taker("a"), Taker("b")
    for taker in (sink, other):
        await room.begun(taker)
        room.feed(taker)
    sink.error = error
    await room.happen(10)
    await until(lambda: len(other.got) == 10 and sink.batches > 1)
    assert await room.store.cursor("sink:a") == 0

    sink.error = None

    await until(lambda: len(sink.got) == 10)
    assert sink.sequences == other.sequences


async def test_a_sink_that_never_answers_delays_no_other(room: Room) -> None:
    dead, other = Taker("a"), Taker("b")
    dead.open.clear()
    for taker in (dead, other):
        await room.begun(taker)
        room.feed(taker)

    await room.happen(5)

    await until(lambda: len(other.got) == 5 and dead.batches)
    assert dead.batches == 1
    assert dead.got == []


async def test_an_event_that_is_at_fault_is_left_out_and_stops_no_other(room: Room) -> None:
    sink = Taker("a")
    await room.begun(sink)
    sink.bad = {2, 5}
    await room.happen(6)

    room.feed(sink)

    await until(lambda: len(sink.got) == 4)
    assert sink.sequences == [1, 3, 4, 6]


async def test_after_a_stop_the_next_one_goes_on_where_it_was(room: Room) -> None:
    first, second = Taker("a"), Taker("a")
    await room.begun(first)
    room.feed(first, "one")
    await room.happen(4)

    async def moved() -> bool:
        return await room.store.cursor("sink:a") == 4

    await until(moved)
    await room.stop("one/a")
    await room.happen(3)
    room.feed(second, "two")

    await until(lambda: len(second.got) == 3)
    assert second.sequences == [5, 6, 7]


async def test_of_two_processes_one_feeds(room: Room) -> None:
    first, second = Taker("a"), Taker("a")
    await room.begun(first)
    room.feed(first, "one")
    await room.happen(1)
    await until(lambda: first.got)
    room.feed(second, "two", seconds=3)
    await room.happen(5)

    await until(lambda: len(first.got) == 6)
    assert second.got == []

    await room.stop("one/a")
    await room.happen(2)

    await until(lambda: len(second.got) == 2)
    assert first.sequences + second.sequences == list(range(1, 9))


async def test_a_bus_is_a_sink(room: Room) -> None:
    bus = MemoryBus("site")
    sink = BusSink(bus, lambda e: tael.message(e, "tesp"))
    await room.store.begin_cursor("sink:site")
    async with bus.subscribe("tesp/#") as deliveries:
        room.feed(sink)
        await room.happen(3)
        got = [(await anext(deliveries)).message for _ in range(3)]

    entries = await room.store.read(0)
    assert [message.id for message in got] == [entry.event.id for entry in entries]
    assert [message.correlation for message in got] == [entry.event.task for entry in entries]
    assert {message.topic for message in got} == {"tesp/infrastructure/pipelines/n/status"}
    await bus.close()
