"""Fixtures of tesp itself and of the gate that its tasks pass."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.tesp_server import TespServer

StartServer = Callable[..., TespServer]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A server that counts and holds."""
    with Gate.opened() as gate:
        yield gate


@pytest.fixture(params=["sqlite", "mongodb"])
def store_settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of each store in turn: what uses this runs over both."""
    if request.param == "sqlite":
        return {"kind": "sqlite"}
    return {
        "kind": "mongodb",
        "mongodb_uri": request.getfixturevalue("mongodb_uri"),
        "database": request.getfixturevalue("mongodb_database"),
    }


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers that end with the test: `start_server(store=..., local=..., ...)`."""
    servers: list[TespServer] = []

    def start(
        role: str = "all", listener: socket.socket | None = None, **settings: Any
    ) -> TespServer:
        directory = tmp_path / f"server-{len(servers)}"
        local = {"runtime": "sandbox", "machine_id": "test-machine", **settings.pop("local", {})}
        staging = {"files": [{"path": tmp_path / "files"}], **settings.pop("staging", {})}
        (tmp_path / "files").mkdir(exist_ok=True)
        settings = {"local": local, "staging": staging, **settings}
        servers.append(TespServer(directory, settings, role, listener))
        return servers[-1].start()

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def docker_settings(docker_engine: DockerEngine) -> dict[str, Any]:
    """Settings that run tasks in the tests' own Docker engine."""
    return {
        "local": {"runtime": "docker"},
        "containers": {"docker_host": docker_engine.host, "network": "host"},
    }
