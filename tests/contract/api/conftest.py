"""The API over the embedded store."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tesp.store import Store
from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import api_over, client_of


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store of this test's own."""
    opened = await SqliteStore.open(tmp_path / "tasks.sqlite")
    yield opened
    await opened.close()


@pytest.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API over that store."""
    async with client_of(api_over(store)) as opened:
        yield opened
