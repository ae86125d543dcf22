"""The API over the embedded store, with real peers for its files."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tesp.api import FileParts
from tesp.settings import FileRoot, HostAccess, StagingSettings
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import Store
from tesp.store.sqlite import SqliteStore
from tests.contract.api.filing import Desk, Open, Peers
from tests.contract.api.serving import api_over, client_of, served
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server


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


@pytest.fixture
def peers(
    http_server: HttpServer,
    ftp_server: FtpServer,
    s3_server: S3Server,
    s3_bucket: str,
    tmp_path: Path,
) -> Peers:
    root = tmp_path / "root"
    root.mkdir()
    return Peers(http_server, ftp_server, root, s3_server.client(), s3_bucket)


@pytest.fixture
async def open_desk(tmp_path: Path, peers: Peers, s3_server: S3Server) -> AsyncIterator[Open]:
    """Opens the API over a store; `transfers` at once, `staging` other than usual."""
    alice = HostAccess.model_validate(
        {"host": "127.0.0.1", "username": "alice", "password": "a-password"}
    )
    async with AsyncExitStack() as stack:

        async def open_(transfers: int = 4, silence: float = 20.0, **staging: Any) -> Desk:
            usual: dict[str, Any] = {
                "files": (FileRoot(path=peers.root),),
                "ftp": (alice,),
                "s3": (s3_server.access(),),
                "tries": 2,
                "timeout_seconds": 10,
            }
            storages = Storages(StagingSettings(**(usual | staging)))
            stack.push_async_callback(storages.close)
            store = await SqliteStore.open(tmp_path / "tasks.sqlite")
            stack.push_async_callback(store.close)
            secret = await store.secret("files")
            # Where it is to be reached is known when it listens; keys are the same everywhere.
            files = FileParts(store, storages, Keys(secret, ""), transfers, silence)
            url = await stack.enter_async_context(served(api_over(store, files=files)))
            desk = Desk(url, store, Keys(secret, url))
            stack.push_async_callback(desk.client.aclose)
            return desk

        yield open_


@pytest.fixture
async def desk(open_desk: Open) -> Desk:
    return await open_desk()
