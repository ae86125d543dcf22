"""The writer: groups, failures that stay alone, callers that go away."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from tesp.errors import Conflict, StoreError
from tesp.store.sqlite.schema import open_reader, open_writer
from tesp.store.sqlite.writer import Done, Writer


class Bench:
    """A writer over a table of numbers, with what it told of its commits."""

    def __init__(self, file: Path) -> None:
        self.connection = open_writer(file)
        self.connection.execute("CREATE TABLE numbers (n INTEGER, filler BLOB)")
        self.told: list[Sequence[float]] = []
        self.writer = Writer(self.connection, self.told.append)
        self.reader = open_reader(file)

    def put(self, n: int) -> Callable[[sqlite3.Connection], Done[int]]:
        """A write of one number."""

        def work(db: sqlite3.Connection) -> Done[int]:
            db.execute("INSERT INTO numbers VALUES (?, NULL)", (n,))
            return Done(n, wakes=(0.0,))

        return work

    def fail(self, n: int, error: Exception) -> Callable[[sqlite3.Connection], Done[int]]:
        """A write that breaks after it has written."""

        def work(db: sqlite3.Connection) -> Done[int]:
            db.execute("INSERT INTO numbers VALUES (?, NULL)", (n,))
            raise error

        return work

    def stored(self) -> list[int]:
        """What another connection sees."""
        return [n for (n,) in self.reader.execute("SELECT n FROM numbers ORDER BY rowid")]


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "t.sqlite")
    yield made
    await made.writer.close()
    made.reader.close()


async def test_a_write_is_seen_by_others_when_it_is_answered(bench: Bench) -> None:
    for n in range(50):
        assert await bench.writer.run(bench.put(n)) == n
        assert bench.stored()[-1] == n


async def test_many_writes_at_once_share_a_few_commits(bench: Bench) -> None:
    came = await asyncio.gather(*(bench.writer.run(bench.put(n)) for n in range(400)))

    assert came == list(range(400)) == bench.stored()
    assert len(bench.told) <= 40


async def test_a_write_that_fails_is_undone_alone(bench: Bench) -> None:
    jobs = [bench.put(n) for n in range(9)]
    jobs[4] = bench.fail(4, Conflict("no"))

    came = await asyncio.gather(*(bench.writer.run(j) for j in jobs), return_exceptions=True)

    assert [str(c) for c in came] == ["0", "1", "2", "3", "no", "5", "6", "7", "8"]
    assert bench.stored() == [0, 1, 2, 3, 5, 6, 7, 8]


async def test_an_error_of_the_database_is_a_store_error(bench: Bench) -> None:
    with pytest.raises(StoreError) as caught:
        await bench.writer.run(lambda db: Done(db.execute("SELECT * FROM nosuch")))

    assert isinstance(caught.value.__cause__, sqlite3.Error)


async def test_a_text_that_cannot_be_stored_is_a_store_error(bench: Bench) -> None:
    with pytest.raises(StoreError):
        await bench.writer.run(lambda db: Done(db.execute("SELECT ?", ("\ud800",))))


async def test_a_writer_goes_on_after_any_error(bench: Bench) -> None:
    for error in (ZeroDivisionError(), sqlite3.OperationalError("x"), KeyError("y")):
        with pytest.raises((ZeroDivisionError, StoreError, KeyError)):
            await bench.writer.run(bench.fail(1, error))

    assert await bench.writer.run(bench.put(2)) == 2
    assert bench.stored() == [2]


async def test_a_full_disk_fails_what_does_not_fit_and_loses_nothing_acknowledged(
    bench: Bench,
) -> None:
    await bench.writer.run(bench.put(1))
    pages = bench.connection.execute("PRAGMA page_count").fetchone()[0]
    bench.connection.execute(f"PRAGMA max_page_count = {pages + 5}")

    def fill(db: sqlite3.Connection) -> Done[int]:
        db.execute("INSERT INTO numbers VALUES (99, zeroblob(1000000))")
        return Done(99)

    came = await asyncio.gather(
        *(bench.writer.run(j) for j in (bench.put(2), fill, bench.put(3))),
        return_exceptions=True,
    )

    assert isinstance(came[1], StoreError)
    assert "full" in str(came[1])
    acknowledged = [n for n in came if isinstance(n, int)]
    assert bench.stored() == [1, *acknowledged]
    assert await bench.writer.run(bench.put(4)) == 4


async def test_callers_that_go_away_are_no_trouble(bench: Bench) -> None:
    waiting = [asyncio.create_task(bench.writer.run(bench.put(n))) for n in range(20)]
    await asyncio.sleep(0)
    for task in waiting[:10]:
        task.cancel()
    came = await asyncio.gather(*waiting, return_exceptions=True)

    assert came[10:] == list(range(10, 20))
    assert set(bench.stored()) >= set(range(10, 20))


async def test_news_of_a_caller_that_went_away_is_told_all_the_same(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.writer.run(bench.put(1)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    await bench.writer.run(lambda db: Done(None))

    assert [t for times in bench.told for t in times] == [0]


async def test_a_closed_writer_has_done_all_that_waited_and_takes_no_more(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "other.sqlite")
    waiting = [asyncio.create_task(bench.writer.run(bench.put(n))) for n in range(50)]
    await asyncio.sleep(0)

    await bench.writer.close()

    assert await asyncio.gather(*waiting) == list(range(50))
    with pytest.raises(StoreError):
        await bench.writer.run(bench.put(1))
    await bench.writer.close()
    bench.reader.close()
