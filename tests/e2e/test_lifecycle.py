"""The whole way of a task, from the POST to its uploaded outputs, over both stores."""

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer


@pytest.fixture
def server(start_server: StartServer, store_settings: dict[str, Any]) -> TespServer:
    return start_server(store=store_settings)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


def shell(script: str, **fields: Any) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script], **fields}


def logs(task: Document) -> list[Document]:
    executors: list[Document] = task["logs"][-1]["logs"]
    return executors


def test_an_http_input_becomes_a_file_output(server: TespServer, gate: Gate, files: Path) -> None:
    task = server.run(
        {
            "name": "md5",
            "inputs": [{"path": "/data/in", "url": f"{gate.url}/some"}],
            "outputs": [{"path": "/out/sum", "url": f"file://{files}/deep/sum"}],
            "executors": [
                {"image": "i", "command": ["md5sum", "/data/in"], "stdout": "/out/sum"},
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    digest = hashlib.md5(b"open /some\n").hexdigest()
    assert (files / "deep/sum").read_text() == f"{digest}  /data/in\n"
    assert task["logs"][0]["outputs"] == [
        {"path": "/out/sum", "url": f"file://{files}/deep/sum", "size_bytes": "43"}
    ]
    assert task["inputs"][0]["type"] == task["outputs"][0]["type"] == "FILE"
    assert logs(task)[0]["stdout"].endswith("  /data/in\n")
    assert server.leftovers() == []


def test_executors_share_volumes_and_pass_streams(server: TespServer, files: Path) -> None:
    task = server.run(
        {
            "volumes": ["/vol"],
            "inputs": [{"path": "/in/words", "content": "b\na\nc\n"}],
            "outputs": [{"path": "/vol/count", "url": f"file://{files}/count"}],
            "executors": [
                {"image": "i", "command": ["sort"], "stdin": "/in/words", "stdout": "/vol/sorted"},
                {
                    "image": "i",
                    "command": ["head", "-n1"],
                    "stdin": "/vol/sorted",
                    "stdout": "/vol/count",
                },
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "count").read_text() == "a\n"
    assert [e["exit_code"] for e in logs(task)] == [0, 0]


def test_directories_and_wildcards_come_out_flattened(server: TespServer, files: Path) -> None:
    script = "mkdir -p /o/d/e && echo 1 >/o/d/one && echo 22 >/o/d/e/two && echo 3 >/o/x.txt"
    task = server.run(
        {
            "outputs": [
                {"path": "/o/d", "url": f"file://{files}/dir", "type": "DIRECTORY"},
                {"path": "/o/*.txt", "path_prefix": "/o", "url": f"file://{files}/glob"},
            ],
            "executors": [shell(script)],
        }
    )
    assert task["state"] == "COMPLETE", task
    found = {o["path"]: o["size_bytes"] for o in task["logs"][0]["outputs"]}
    assert found == {"/o/d/one": "2", "/o/d/e/two": "3", "/o/x.txt": "2"}
    assert (files / "dir/e/two").read_text() == "22\n"
    assert (files / "glob/x.txt").read_text() == "3\n"


def test_a_failing_executor_stops_the_rest_and_still_sends_what_exists(
    server: TespServer, files: Path
) -> None:
    task = server.run(
        {
            "outputs": [
                {"path": "/o/there", "url": f"file://{files}/there"},
                {"path": "/o/absent", "url": f"file://{files}/absent"},
            ],
            "executors": [
                shell("echo kept >/o/there; echo why >&2; exit 7"),
                shell("echo never >/o/absent"),
            ],
        }
    )
    assert task["state"] == "EXECUTOR_ERROR", task
    assert [e["exit_code"] for e in logs(task)] == [7]
    assert logs(task)[0]["stderr"] == "why\n"
    assert (files / "there").read_text() == "kept\n"
    assert not (files / "absent").exists()


def test_an_ignored_error_goes_on_and_ends_complete(server: TespServer) -> None:
    task = server.run({"executors": [shell("exit 3", ignore_error=True), shell("echo on")]})
    assert task["state"] == "COMPLETE", task
    assert [e["exit_code"] for e in logs(task)] == [3, 0]


def test_every_field_of_an_executor_reaches_the_command(server: TespServer) -> None:
    awkward = "a b\"c'd\\e\nf$g`h`;*"
    task = server.run(
        {
            "volumes": ["/w/here"],
            "executors": [
                {
                    "image": "i",
                    "command": [
                        "bash",
                        "-c",
                        'pwd; printf %s "$ODD"; printf %s "$1"',
                        "x",
                        awkward,
                    ],
                    "workdir": "/w/here",
                    "env": {"ODD": awkward},
                }
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert logs(task)[0]["stdout"] == f"/w/here\n{awkward}{awkward}"


def test_the_time_limit_ends_the_task(server: TespServer) -> None:
    task = server.run(
        {
            "executors": [shell("echo begun; sleep 600")],
            "resources": {"backend_parameters": {"timeout": "4"}},
        }
    )
    assert task["state"] == "EXECUTOR_ERROR", task
    assert any("time limit" in line for line in task["logs"][0]["system_logs"])
    assert logs(task)[0]["stdout"] == "begun\n"


def test_cancel_ends_what_runs(server: TespServer, gate: Gate) -> None:
    gate.hold("/run")
    task_id = server.submit({"executors": [shell(f"trap '' TERM; {gate.knock('/run')}; sleep 60")]})
    gate.wait_for("/run")
    server.wait(task_id, "RUNNING")
    server.cancel(task_id)
    task = server.wait(task_id)
    assert task["state"] == "CANCELED", task
    assert server.leftovers() == []
    server.cancel(task_id)
    assert server.state(task_id) == "CANCELED"


def test_a_queued_task_is_canceled_at_once(
    start_server: StartServer, store_settings: dict[str, Any], gate: Gate
) -> None:
    server = start_server(store=store_settings, local={"slots": 1})
    gate.hold("/first")
    first = server.submit({"executors": [shell(gate.knock("/first"))]})
    gate.wait_for("/first")
    second = server.submit({"executors": [shell(gate.knock("/second"))]})
    server.cancel(second)
    assert server.state(second) == "CANCELED"
    gate.release("/first")
    assert server.wait(first)["state"] == "COMPLETE"
    assert gate.arrived("/second") == 0


def test_the_output_so_far_is_seen_while_the_task_runs(server: TespServer, gate: Gate) -> None:
    gate.hold("/run")
    task_id = server.submit(
        {
            "executors": [
                shell("echo done"),
                shell(f"echo so far; echo err >&2; {gate.knock('/run')}"),
            ]
        }
    )
    gate.wait_for("/run")
    seen = _until_tail(server, task_id)
    assert [e["stdout"] for e in logs(seen)] == ["done\n"]
    gate.release("/run")
    task = server.wait(task_id)
    assert logs(task)[1]["stdout"] == "so far\n"
    assert "executor.1.stdout" not in task["logs"][0]["metadata"]


def _until_tail(server: TespServer, task_id: str) -> Document:
    def seen() -> bool:
        task = server.get(task_id)
        metadata = (task.get("logs") or [{}])[-1].get("metadata", {})
        names = ("executor.1.stdout", "executor.1.stderr")
        return [metadata.get(name) for name in names] == ["so far\n", "err\n"]

    wait_until(seen, "the live tail")
    return server.get(task_id)


def test_binary_noise_is_kept_apart_and_without_loss(server: TespServer, files: Path) -> None:
    task = server.run(
        {
            "outputs": [{"path": "/o/noise", "url": f"file://{files}/noise"}],
            "executors": [
                shell(r"printf '\xff\x00\\A'; printf '\xfe' >&2", stdout="/o/noise"),
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "noise").read_bytes() == b"\xff\x00\\A"
    assert logs(task)[0]["stdout"] == "\\xff\x00\\\\A"
    assert logs(task)[0]["stderr"] == "\\xfe"
    assert task["logs"][0]["metadata"]["executor.0.stdout.encoding"] == "backslash"


def test_an_empty_queue_answers_a_new_task_at_once(server: TespServer) -> None:
    for _ in range(3):
        task = server.run({"executors": [shell("true")]})
        assert task["state"] == "COMPLETE", json.dumps(task)


def test_retries_append_one_log_an_attempt(server: TespServer, files: Path) -> None:
    task = server.run(
        {
            "inputs": [{"path": "/in", "url": f"file://{files}/absent"}],
            "executors": [shell("true")],
            "resources": {"backend_parameters": {"max_retries": "1"}},
        }
    )
    assert task["state"] == "SYSTEM_ERROR", task
    assert len(task["logs"]) == 2
    assert all(any("inputs[0]" in s for s in log["system_logs"]) for log in task["logs"])


def test_a_task_that_is_to_start_later_waits_and_can_be_canceled(server: TespServer) -> None:
    def later(**when: str) -> Document:
        return {"resources": {"backend_parameters": when}, "executors": [shell("true")]}

    far = server.submit(later(not_before="2999-12-31T23:59:59Z"))
    ended = server.run(later(countdown="1"))
    assert ended["state"] == "COMPLETE", ended
    created, (log,) = datetime.fromisoformat(ended["creation_time"]), ended["logs"]
    assert datetime.fromisoformat(log["start_time"]) >= created + timedelta(seconds=1)
    assert server.state(far) == "QUEUED"
    server.cancel(far)
    assert server.wait(far)["state"] == "CANCELED"


def test_unsupported_backend_parameters_are_told_in_the_log(server: TespServer) -> None:
    task = server.run(
        {
            "executors": [shell("true")],
            "resources": {"backend_parameters": {"VmSize": "big", "Timeout": "60"}},
        }
    )
    assert task["state"] == "COMPLETE", task
    assert any("VmSize" in line for line in task["logs"][0]["system_logs"])
    assert task["resources"]["backend_parameters"] == {"Timeout": "60"}
