"""An agent's notebook keeps what it was told, and says what it has to say, whatever happens."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tesp.agents.notebook import Notebook, say
from tesp.bus import Bus, Message
from tesp.bus.memory import MemoryBus
from tesp.errors import SettingsError, StoreError

SCHEMA = "CREATE TABLE IF NOT EXISTS words (word TEXT PRIMARY KEY);"


def message(word: str, topic: str = "p/a/status") -> Message:
    return Message(topic, {"word": word}, f"id of {word}", 1.0, "c", 2, headers={"h": 1})


def note(word: str, topic: str = "p/a/status") -> Callable[[sqlite3.Connection], None]:
    def work(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO words VALUES (?)", (word,))
        say(db, message(word, topic))

    return work


def words(db: sqlite3.Connection) -> list[str]:
    return [word for (word,) in db.execute("SELECT word FROM words ORDER BY word")]


@asynccontextmanager
async def speaking(notebook: Notebook, bus: Bus) -> AsyncIterator[None]:
    task = asyncio.create_task(notebook.speak(bus))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def heard(bus: Bus, notebook: Notebook, count: int) -> list[Message]:
    """What it says next."""
    async with (
        bus.subscribe("#") as deliveries,
        speaking(notebook, bus),
        asyncio.timeout(30),
    ):
        return [(await anext(deliveries)).message for _ in range(count)]


async def test_what_was_noted_is_said_in_order_after_the_notebook_was_closed(
    tmp_path: Path,
) -> None:
    file = tmp_path / "a" / "notes.db"
    async with Notebook.opened(file, SCHEMA) as notebook:
        for word in "abc":
            await notebook.write(note(word))
    bus = MemoryBus()
    async with (
        Notebook.opened(file, SCHEMA) as notebook,
        bus.subscribe("#") as deliveries,
        speaking(notebook, bus),
        asyncio.timeout(30),
    ):
        said = [(await anext(deliveries)).message for _ in range(3)]
        await notebook.write(note("d"))
        said.append((await anext(deliveries)).message)
    assert said == [message(word) for word in "abcd"]


async def test_a_note_that_fails_is_neither_kept_nor_said(tmp_path: Path) -> None:
    async with Notebook.opened(tmp_path / "notes.db", SCHEMA) as notebook:
        await notebook.write(note("a"))
        with pytest.raises(StoreError, match="UNIQUE"):
            await notebook.write(note("a"))
        await notebook.write(note("b"))
        assert await notebook.read(words) == ["a", "b"]
        assert await heard(MemoryBus(), notebook, 2) == [message("a"), message("b")]


async def test_what_no_broker_takes_stops_no_other(tmp_path: Path) -> None:
    async with Notebook.opened(tmp_path / "notes.db", SCHEMA) as notebook:
        for word, topic in (("a", "p/a"), ("b", "p/+/no topic"), ("c", "p/c")):
            await notebook.write(note(word, topic))
        said = await heard(MemoryBus(), notebook, 2)
    assert [one.payload["word"] for one in said] == ["a", "c"]


async def test_a_full_bus_is_waited_for(tmp_path: Path) -> None:
    bus = MemoryBus(most_waiting=1)
    async with (
        Notebook.opened(tmp_path / "notes.db", SCHEMA) as notebook,
        bus.subscribe("#") as deliveries,
        speaking(notebook, bus),
        asyncio.timeout(30),
    ):
        for word in "ab":
            await notebook.write(note(word))
        said = [(await anext(deliveries)).message.payload["word"] for _ in range(2)]
    assert said == ["a", "b"]


async def test_a_file_that_is_none_of_ours_or_in_use_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_bytes(b"no database" * 100)
    with pytest.raises(SettingsError, match=r"notes\.db cannot be used"):
        async with Notebook.opened(file, SCHEMA):
            pass
    file.unlink()
    async with Notebook.opened(file, SCHEMA):
        with pytest.raises(SettingsError, match="another agent's that runs"):
            async with Notebook.opened(file, SCHEMA):
                pass
