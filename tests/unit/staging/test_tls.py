"""TLS: what is not trusted is not spoken to; FTPS in both of its ways."""

from collections.abc import AsyncIterator
from pathlib import Path

import aioftp
import pytest

from tesp.errors import TransferFailed
from tesp.settings import HostAccess
from tesp.staging import Storage
from tesp.staging.ftp import FtpStorage
from tesp.staging.http import HttpStorage
from tests.peers.certificates import Certificate
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer


async def whole(storage: Storage, url: str, start: int = 0) -> bytes:
    async with storage.open(url, start) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


@pytest.fixture
async def implicit(tmp_path: Path, certificate: Certificate) -> AsyncIterator[str]:
    """An FTP server that speaks TLS from the first byte."""
    user = aioftp.User("alice", "a-password", base_path=tmp_path)
    server = aioftp.Server([user], ssl=certificate.server())
    await server.start("127.0.0.1", 0)
    yield f"ftps://alice:a-password@127.0.0.1:{server.address[1]}"
    await server.close()


async def test_https_is_spoken_with_who_is_trusted(
    tmp_path: Path, certificate: Certificate
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with HttpServer(tmp_path, tls=certificate.server()) as server:
        storage = HttpStorage(tls=certificate.client())
        assert await whole(storage, f"{server.url}/file") == b"content"
        await storage.close()


async def test_https_is_not_spoken_with_a_stranger(
    tmp_path: Path, certificate: Certificate
) -> None:
    with HttpServer(tmp_path, tls=certificate.server()) as server:
        storage = HttpStorage()
        with pytest.raises(TransferFailed, match="no trusted TLS"):
            await whole(storage, f"{server.url}/file")
        await storage.close()
        assert server.requests == []


async def test_implicit_ftps_is_spoken(
    implicit: str, tmp_path: Path, certificate: Certificate
) -> None:
    async def sending() -> AsyncIterator[bytes]:
        yield b"content"

    storage = FtpStorage(tls=certificate.client())
    await storage.put(f"{implicit}/d/file", sending, 7)
    assert (tmp_path / "d" / "file").read_bytes() == b"content"
    assert await whole(storage, f"{implicit}/d/file", 3) == b"tent"


async def test_a_stranger_hears_no_ftp_password(
    implicit: str, tmp_path: Path, certificate: Certificate
) -> None:
    with pytest.raises(TransferFailed, match="no trusted TLS"):
        await whole(FtpStorage(), f"{implicit}/file")
    access = {"host": "127.0.0.1", "username": "alice", "password": "a-password"}
    storage = FtpStorage([HostAccess.model_validate(access)])
    with FtpServer(tmp_path, "alice", "a-password", certificate.path) as server:
        with pytest.raises(TransferFailed, match="no trusted TLS"):
            await whole(storage, f"{server.url}/file")
        assert "PASS" not in server.commands


async def test_ftps_never_falls_back_to_plain_ftp(tmp_path: Path) -> None:
    with FtpServer(tmp_path, "alice", "a-password") as server:
        url = server.url.replace("ftp://", "ftps://alice:a-password@")
        with pytest.raises(Exception, match="server answered"):
            await whole(FtpStorage(), f"{url}/file")
        assert "PASS" not in server.commands
