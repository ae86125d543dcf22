"""The relay: at once, whoever writes; news to who follows; and old events are forgotten."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tesp.dispatch.relay import Relay
from tesp.store import NewTask
from tesp.store.following import LogNews
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.views import Text

PATIENCE = 20.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "t.sqlite")
    yield opened
    await opened.close()


async def created(store: SqliteStore) -> str:
    return await store.create(NewTask(new_task_id(), "ann", Text('"executors":[]')))


@contextlib.asynccontextmanager
async def relaying(relay: Relay) -> AsyncIterator[None]:
    running = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_claim_is_relayed_though_nobody_nudges(store: SqliteStore) -> None:
    news = LogNews(store, longest_pause=2 * PATIENCE)
    async with relaying(Relay(store, "me", 60, tell=news.nudge)):
        task_id = await created(store)
        assert await news.beyond(0, PATIENCE)
        await store.claim(task_id, "local", "me", 60)
        assert await news.beyond(1, PATIENCE)
    assert [entry.event.number for entry in await store.read(0)] == [1, 2]


async def test_another_holds_the_relay_and_it_is_left_to_him(store: SqliteStore) -> None:
    assert await store.hold("relay", "another", 60)
    async with relaying(Relay(store, "me", 60)):
        await created(store)
        assert not await LogNews(store).beyond(0, 0.3)
        await store.hold("relay", "another", 0)
        assert await LogNews(store).beyond(0, PATIENCE)


async def test_what_is_older_than_it_is_kept_is_forgotten(store: SqliteStore) -> None:
    for _ in range(3):
        await created(store)
    await store.relay()
    await store.move_cursor("sink:of-old", 1)
    await asyncio.sleep(0.05)
    async with relaying(Relay(store, "me", 60, keep_seconds=0.01)):
        deadline = time.monotonic() + PATIENCE
        while await store.first() != 3:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    assert await store.cursor("sink:of-old") == 0


async def test_nobody_looks_at_the_log_while_nobody_waits(store: SqliteStore) -> None:
    looks = 0

    class Counting:
        async def end(self) -> int:
            nonlocal looks
            looks += 1
            return await store.end()

    news = LogNews(Counting())  # type: ignore[arg-type]
    await asyncio.gather(*(news.beyond(0, 0.2) for _ in range(50)))
    seen = looks
    await asyncio.sleep(0.3)

    assert 1 <= seen < 20
    assert looks <= seen + 1
