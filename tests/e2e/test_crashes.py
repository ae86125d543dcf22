"""The server dies: no task is lost, stuck, or run twice. Over both stores.

Executions are counted by the gate that each command passes: a second run would show.
"""

import json
import os
import random
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer

SHORT_LEASE = {"lease_seconds": 2.0}


@pytest.fixture
def server(start_server: StartServer, store_settings: dict[str, Any]) -> TespServer:
    return start_server(store=store_settings, dispatch=SHORT_LEASE)


def shell(script: str) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script]}


def test_a_crash_while_inputs_come_in_stages_anew(server: TespServer, gate: Gate) -> None:
    gate.hold("/input")
    task_id = server.submit(
        {
            "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
            "executors": [shell(f"{gate.knock('/ran')}; cat /in")],
        }
    )
    gate.wait_for("/input")
    server.kill()
    server.start()
    gate.release("/input")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert task["logs"][0]["logs"][0]["stdout"] == "open /input\n"
    assert gate.arrived("/ran") == 1
    assert server.leftovers() == []


def test_a_crash_while_the_command_runs_is_not_noticed_by_it(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; echo survived")]})
    gate.wait_for("/ran")
    server.kill()
    server.start()
    assert server.state(task_id) in ("INITIALIZING", "RUNNING")
    gate.release("/ran")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert task["logs"][0]["logs"][0]["stdout"] == "survived\n"
    assert gate.arrived("/ran") == 1


def test_a_command_that_ends_while_the_server_is_down_counts(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; exit 5")]})
    gate.wait_for("/ran")
    server.kill()
    gate.release("/ran")
    workspace = next((server.data / "work").iterdir())
    wait_until(lambda: (workspace / "result.json").exists(), "the runner's result")
    server.start()
    task = server.wait(task_id)
    assert task["state"] == "EXECUTOR_ERROR", task
    assert task["logs"][0]["logs"][0]["exit_code"] == 5
    assert gate.arrived("/ran") == 1


def test_a_crash_while_outputs_go_out_sends_them_again(server: TespServer, gate: Gate) -> None:
    gate.hold("/output")
    task_id = server.submit(
        {
            "outputs": [{"path": "/o/x", "url": f"{gate.url}/output"}],
            "executors": [shell(f"{gate.knock('/ran')}; echo result >/o/x")],
        }
    )
    gate.wait_for("/output")
    server.kill()
    server.start()
    gate.release("/output")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert gate.bodies["/output"] == b"result\n"
    assert gate.arrived("/ran") == 1
    assert [o["size_bytes"] for o in task["logs"][0]["outputs"]] == ["7"]


def test_a_cancel_that_the_server_did_not_live_to_carry_out_is_carried_out_later(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; sleep 600")]})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    server.cancel(task_id)
    server.kill()
    server.start()
    task = server.wait(task_id)
    assert task["state"] == "CANCELED", task
    assert server.leftovers() == []


def test_a_runner_that_is_killed_ends_in_a_system_error_that_says_so(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(gate.knock("/ran"))]})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    workspace = next((server.data / "work").iterdir())
    kill_runner(workspace)
    task = server.wait(task_id)
    assert task["state"] == "SYSTEM_ERROR", task
    assert any("without a result" in line for line in task["logs"][0]["system_logs"])
    assert gate.arrived("/ran") == 1
    assert server.leftovers() == []


def kill_runner(workspace: Path) -> None:
    claim = json.loads((workspace / "claim").read_text())
    os.kill(int(claim["pid"]), signal.SIGKILL)


def test_a_server_after_a_graceful_stop_takes_jobs_up_at_once(
    start_server: StartServer, store_settings: dict[str, Any], gate: Gate
) -> None:
    server = start_server(store=store_settings, dispatch={"lease_seconds": 3600.0})
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; echo on")]})
    gate.wait_for("/ran")
    assert server.stop() == 0
    server.start()
    gate.release("/ran")
    assert server.wait(task_id)["state"] == "COMPLETE"
    assert gate.arrived("/ran") == 1


def test_kills_at_any_moment_lose_nothing_and_run_nothing_twice(
    server: TespServer, gate: Gate
) -> None:
    chance = random.Random(7)
    acknowledged: dict[str, str] = {}
    for turn in range(4):
        for n in range(6):
            path = f"/{turn}-{n}"
            task = {
                "inputs": [{"path": "/in", "content": "x"}],
                "outputs": [{"path": "/o/x", "url": f"{gate.url}/out{path}"}],
                "executors": [shell(f"{gate.knock(path)}; cat /in >/o/x")],
            }
            acknowledged[server.submit(task)] = path
        moment = chance.uniform(0, 0.6)
        threading.Event().wait(moment)  # the moment of the kill is the test's subject
        server.kill()
        server.start()
    for task_id, path in acknowledged.items():
        task = server.wait(task_id)
        assert task["state"] == "COMPLETE", task
        assert gate.arrived(path) == 1
        assert gate.bodies[f"/out{path}"] == b"x"
    assert server.leftovers() == []


def test_an_acknowledged_task_survives_a_kill_in_the_middle_of_submits(
    server: TespServer,
) -> None:
    acknowledged: list[str] = []
    task = {"executors": [shell("true")], "name": "flood"}

    def flood() -> None:
        with httpx.Client(base_url=server.client.base_url) as client:
            try:
                while len(acknowledged) < 400:
                    acknowledged.append(client.post("/tasks", json=task).json()["id"])
            except httpx.TransportError:
                return

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) >= 60, "some tasks")
    server.kill()
    for thread in threads:
        thread.join()
    server.start()
    for task_id in acknowledged:
        assert server.get(task_id, "MINIMAL")["id"] == task_id


class TestTwoDispatchers:
    """Several processes over one MongoDB."""

    @pytest.fixture
    def settings(self, mongodb_uri: str, mongodb_database: str) -> dict[str, Any]:
        return {
            "store": {
                "kind": "mongodb",
                "mongodb_uri": mongodb_uri,
                "database": mongodb_database,
            },
            "dispatch": SHORT_LEASE,
        }

    def test_each_task_runs_once(
        self, start_server: StartServer, settings: dict[str, Any], gate: Gate
    ) -> None:
        api = start_server("api", **settings)
        start_server("dispatcher", **settings)
        start_server("dispatcher", **settings)
        paths = {
            api.submit({"executors": [shell(gate.knock(f"/{n}"))]}): f"/{n}" for n in range(16)
        }
        for task_id, path in paths.items():
            assert api.wait(task_id)["state"] == "COMPLETE"
            assert gate.arrived(path) == 1

    def test_what_one_leaves_behind_the_other_carries_on(
        self, start_server: StartServer, settings: dict[str, Any], gate: Gate
    ) -> None:
        api = start_server("api", **settings)
        first = start_server("dispatcher", **settings)
        gate.hold("/ran")
        task_id = api.submit({"executors": [shell(f"{gate.knock('/ran')}; echo through")]})
        gate.wait_for("/ran")
        start_server("dispatcher", **settings)
        first.kill()
        gate.release("/ran")
        task = api.wait(task_id)
        assert task["state"] == "COMPLETE", task
        assert task["logs"][0]["logs"][0]["stdout"] == "through\n"
        assert gate.arrived("/ran") == 1

    def test_a_dispatcher_that_was_frozen_does_nothing_more_when_it_wakes(
        self, start_server: StartServer, settings: dict[str, Any], gate: Gate
    ) -> None:
        api = start_server("api", **settings)
        first = start_server("dispatcher", **settings)
        gate.hold("/input")
        task_id = api.submit(
            {
                "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
                "executors": [shell(gate.knock("/ran"))],
            }
        )
        gate.wait_for("/input")
        os.kill(first.pid, signal.SIGSTOP)
        start_server("dispatcher", **settings)
        gate.wait_for("/input", 2)
        gate.release("/input")
        assert api.wait(task_id)["state"] == "COMPLETE"
        os.kill(first.pid, signal.SIGCONT)
        probe = api.submit({"executors": [shell("true")]})
        assert api.wait(probe)["state"] == "COMPLETE"
        assert api.get(task_id)["state"] == "COMPLETE"
        assert gate.arrived("/ran") == 1
