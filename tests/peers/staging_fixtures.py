"""Fixtures of the peers that URLs point to."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.certificates import Certificate
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.room import SharedPeers
from tests.peers.s3_server import S3Server


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory


@pytest.fixture
def http_server(tmp_path: Path) -> Iterator[HttpServer]:
    """An HTTP server over a directory of its own."""
    with HttpServer(_made(tmp_path / "http")) as server:
        yield server


@pytest.fixture
def ftp_server(tmp_path: Path) -> Iterator[FtpServer]:
    """An FTP server over a directory of its own, for the user alice."""
    with FtpServer(_made(tmp_path / "ftp"), "alice", "a-password") as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(shared_peers: SharedPeers) -> S3Server:
    """An S3 server."""
    return shared_peers.get("moto", S3Server)


@pytest.fixture
def s3_bucket(s3_server: S3Server) -> str:
    """The name of a bucket that is this test's alone."""
    name = f"test-{uuid.uuid4().hex}"
    s3_server.make_bucket(name)
    return name


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for 127.0.0.1."""
    return Certificate.make(tmp_path_factory.mktemp("certificate"))
