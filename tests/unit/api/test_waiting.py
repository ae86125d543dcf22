"""Waiting: woken by the log, cheap however many wait, and over when nobody does."""

import asyncio
import time
from collections.abc import Callable, Sequence

from tesp.api.waiting import Waiting
from tesp.errors import StoreError
from tesp.events import Event
from tesp.store import Logged
from tesp.tes.states import State

PATIENCE = 20.0


class Log:
    """A log in memory; counts how often it is asked."""

    def __init__(self) -> None:
        self.entries: list[Logged] = []
        self.ends = self.reads = 0
        self.fails = False

    def tell(self, task: str) -> None:
        """A change of a task."""
        event = Event(task, 1, State.RUNNING, 0.0, "ann", 1)
        self.entries.append(Logged(len(self.entries) + 1, event))

    async def end(self) -> int:
        self.ends += 1
        return len(self.entries)

    async def read(self, after: int, limit: int = 1000) -> Sequence[Logged]:
        self.reads += 1
        if self.fails:
            raise StoreError("down")
        return self.entries[after : after + limit]


class Tasks:
    """Tasks that are done or not; counts the looks at each."""

    def __init__(self) -> None:
        self.done: set[str] = set()
        self.looks: dict[str, int] = {}

    async def waited(self, waiting: Waiting, task: str, most: float = PATIENCE) -> bool:
        """Wait until a task is done."""

        async def look() -> bool:
            self.looks[task] = self.looks.get(task, 0) + 1
            return task in self.done

        return await waiting.until(task, look, bool, most)


async def poll(ready: Callable[[], object]) -> None:
    """Wait until `ready()` holds."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)


async def test_a_thousand_who_wait_share_one_reader_and_only_who_is_meant_looks_again() -> None:
    log, tasks = Log(), Tasks()
    waiting = Waiting(log)
    names = [f"t{n}" for n in range(1000)]
    waiters = [asyncio.create_task(tasks.waited(waiting, name)) for name in names]
    await poll(lambda: len(tasks.looks) == 1000)
    tasks.done.add("t7")
    log.tell("t7")
    assert await waiters[7]
    assert log.ends == 1
    assert tasks.looks.pop("t7") == 2
    assert set(tasks.looks.values()) == {1}
    assert not any(w.done() for n, w in enumerate(waiters) if n != 7)
    waiting.end()
    assert await asyncio.gather(*waiters) == [n == 7 for n in range(1000)]


async def test_what_was_in_the_log_before_wakes_nobody_and_what_comes_while_looking_does() -> None:
    log, tasks = Log(), Tasks()
    for _ in range(3):
        log.tell("t")
    waiting = Waiting(log)
    seen = asyncio.Event()

    async def look() -> bool:
        if not seen.is_set():
            seen.set()
            tasks.done.add("t")
            log.tell("t")
            return False
        return True

    assert await waiting.until("t", look, bool, PATIENCE)
    assert log.ends == 1


async def test_the_time_given_is_the_end_and_what_is_there_then_is_the_answer() -> None:
    tasks, began = Tasks(), time.monotonic()
    assert not await tasks.waited(Waiting(Log()), "t", most=0.2)
    assert time.monotonic() - began >= 0.2
    assert tasks.looks["t"] in (1, 2)
    assert not await tasks.waited(Waiting(Log()), "u", most=0)
    assert tasks.looks["u"] == 1


async def test_the_log_is_left_alone_when_nobody_waits_and_taken_up_again() -> None:
    log, tasks = Log(), Tasks()
    waiting = Waiting(log)
    assert not await tasks.waited(waiting, "t", most=0.05)
    await poll(lambda: len(asyncio.all_tasks()) == 1)
    log.tell("t")
    before = tasks.looks["t"]
    waiter = asyncio.create_task(tasks.waited(waiting, "t"))
    await poll(lambda: tasks.looks["t"] > before)
    tasks.done.add("t")
    log.tell("t")
    assert await waiter
    assert log.ends == 2


async def test_a_log_that_cannot_be_read_for_a_while_is_read_again() -> None:
    log, tasks = Log(), Tasks()
    log.fails = True
    waiter = asyncio.create_task(tasks.waited(Waiting(log), "t"))
    await poll(lambda: log.reads)
    tasks.done.add("t")
    log.tell("t")
    log.fails = False
    assert await waiter


async def test_after_the_end_nobody_waits() -> None:
    tasks, waiting = Tasks(), Waiting(Log())
    waiting.end()
    assert not await tasks.waited(waiting, "t")
    assert tasks.looks == {"t": 1}
