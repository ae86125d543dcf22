"""Waiting in the service: over processes, through the command line, and at the service's end."""

import json
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gate import Gate
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

LONG = 25
_PROGRAM = Path(sys.executable).with_name("tesp")


def knocking(gate: Gate) -> dict[str, Any]:
    """A task that runs until the gate opens."""
    return {"executors": [{"image": "i", "command": ["bash", "-c", gate.knock("/held")]}]}


class Waiter(threading.Thread):
    """One request that waits, and the time that it took."""

    def __init__(self, server: TespServer, task_id: str, **wish: str | int) -> None:
        super().__init__(daemon=True)
        path = server.client.base_url.join(f"tasks/{task_id}").copy_merge_params(wish).raw_path
        self._server, self._path = server, path.decode()
        self.sent = threading.Event()
        self.seconds = 0.0
        self._answer: Any = None
        self.start()

    def run(self) -> None:
        """Wait."""
        began = time.monotonic()
        url = self._server.client.base_url
        connection = HTTPConnection(url.host, url.port, timeout=60)
        connection.request("GET", self._path)
        self.sent.set()
        self._answer = json.load(connection.getresponse())
        self.seconds = time.monotonic() - began

    def state(self) -> str:
        """The state that came."""
        self.join(60)
        assert self._answer is not None
        return str(self._answer["state"])


@pytest.fixture(params=["one process", "an api and a dispatcher"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> TespServer:
    """Whom the clients ask; the tasks may be run by another process."""
    if request.param == "one process":
        return start_server()
    store = {
        "kind": "mongodb",
        "mongodb_uri": request.getfixturevalue("mongodb_uri"),
        "database": request.getfixturevalue("mongodb_database"),
    }
    start_server(role="dispatcher", store=store)
    return start_server(role="api", store=store)


def test_who_waits_is_answered_when_the_task_moves_on_and_when_it_ends(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/held")
    task_id = server.submit(knocking(gate))
    begun = Waiter(server, task_id, wait=LONG, since="QUEUED")
    assert begun.state() in ("INITIALIZING", "RUNNING")
    gate.wait_for("/held")
    ended = [Waiter(server, task_id, wait=LONG) for _ in range(5)]
    program = subprocess.Popen(
        [_PROGRAM, "wait", task_id, "--url", server.url], stderr=subprocess.PIPE, text=True
    )
    gate.release("/held")
    assert [waiter.state() for waiter in ended] == ["COMPLETE"] * 5
    assert max(waiter.seconds for waiter in ended) < LONG
    assert program.wait(60) == 0
    assert "COMPLETE" in (program.stderr.read() if program.stderr else "")


def test_a_service_that_ends_answers_who_waits(start_server: StartServer, gate: Gate) -> None:
    server = start_server()
    gate.hold("/held")
    task_id = server.submit(knocking(gate))
    gate.wait_for("/held")
    server.wait(task_id, "RUNNING")
    waiter = Waiter(server, task_id, wait=LONG)
    assert waiter.sent.wait(60)
    waiter.join(0.5)
    assert waiter.is_alive()
    assert server.stop() == 0
    assert waiter.state() == "RUNNING"
    assert waiter.seconds < LONG
    gate.release("/held")
