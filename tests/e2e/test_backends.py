"""The same tasks on every backend: on the machine itself, and on Pulsars however they are reached.

Executions are counted by the gate that each command passes: a second run would show.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.sites import SLOTS, Site
from tests.peers.tesp_server import Document, TespServer


def shell(script: str, **fields: Any) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script], **fields}


def logs(task: Document) -> list[Document]:
    executors: list[Document] = task["logs"][-1]["logs"]
    return executors


def finished(site: Site, server: TespServer, task: Document, state: str = "COMPLETE") -> Document:
    """Run a task to its end; nothing of it is left where it ran."""
    ended = server.run(task)
    assert ended["state"] == state, ended
    site.wait_until_clean()
    return ended


def test_a_file_comes_in_and_its_sum_goes_out(site: Site, server: TespServer, gate: Gate) -> None:
    task = finished(
        site,
        server,
        {
            "inputs": [{"path": "/data/in", "url": f"{gate.url}/some"}],
            "outputs": [{"path": "/out/copy", "url": f"file://{site.files}/deep/copy"}],
            "executors": [
                {"image": "i", "command": ["cat"], "stdin": "/data/in", "stdout": "/out/copy"}
            ],
        },
    )
    assert (site.files / "deep/copy").read_bytes() == b"open /some\n"
    (output,) = task["logs"][0]["outputs"]
    assert (output["path"], output["size_bytes"]) == ("/out/copy", "11")
    assert logs(task)[0]["stdout"] == "open /some\n"


def test_every_executor_has_its_exit_code_and_streams(site: Site, server: TespServer) -> None:
    task = finished(
        site,
        server,
        {
            "volumes": ["/vol"],
            "executors": [
                shell("echo one >/vol/x; echo first; exit 4", ignore_error=True),
                shell("cat /vol/x; echo wrong >&2; exit 3", env={"A": "b c"}),
                shell("echo never"),
            ],
        },
        "EXECUTOR_ERROR",
    )
    assert [e["exit_code"] for e in logs(task)] == [4, 3]
    assert [e["stdout"] for e in logs(task)] == ["first\n", "one\n"]
    assert logs(task)[1]["stderr"] == "wrong\n"


def test_directories_and_wildcards(site: Site, server: TespServer) -> None:
    (site.files / "tree/deep").mkdir(parents=True)
    (site.files / "tree/a b").write_text("one")
    (site.files / "tree/deep/ü#%?&").write_text("two")
    task = finished(
        site,
        server,
        {
            "inputs": [{"path": "/in", "url": f"file://{site.files}/tree", "type": "DIRECTORY"}],
            "outputs": [
                {"path": "/o/d", "url": f"file://{site.files}/out", "type": "DIRECTORY"},
                {"path": "/o/*.txt", "url": f"file://{site.files}/texts", "path_prefix": "/o"},
            ],
            "executors": [
                shell("mkdir -p /o/d/e; cp -r /in /o/d/e; echo 1 >/o/1.txt; echo 2 >'/o/2 .txt'")
            ],
        },
    )
    assert (site.files / "out/e/in/a b").read_text() == "one"
    assert (site.files / "out/e/in/deep/ü#%?&").read_text() == "two"
    assert sorted(p.name for p in (site.files / "texts").iterdir()) == ["1.txt", "2 .txt"]
    assert len(task["logs"][0]["outputs"]) == 4


def test_big_binary_files_arrive_byte_for_byte(site: Site, server: TespServer) -> None:
    content = os.urandom(8 << 20) * 4
    (site.files / "big").write_bytes(content)
    finished(
        site,
        server,
        {
            "inputs": [{"path": "/in/big", "url": f"file://{site.files}/big"}],
            "outputs": [{"path": "/o/big", "url": f"file://{site.files}/back"}],
            "executors": [shell("cat /in/big >/o/big")],
        },
    )
    assert (site.files / "back").read_bytes() == content


def test_long_commands_and_inline_content(site: Site, server: TespServer) -> None:
    arguments = [f"{n:0199}" for n in range(1000)]
    content = "ä" * 65536
    task = finished(
        site,
        server,
        {
            "inputs": [{"path": "/in/content", "content": content}],
            "executors": [
                {"image": "i", "command": ["bash", "-c", 'echo "$# $*" | wc', "x", *arguments]},
                {"image": "i", "command": ["wc", "-mc", "/in/content"]},
            ],
        },
    )
    assert logs(task)[0]["stdout"].split() == ["1", "1001", str(200 * 1000 + 5)]
    assert logs(task)[1]["stdout"].split()[-2] == str(len(content.encode()))


def test_noise_is_shown_without_loss(site: Site, server: TespServer) -> None:
    task = finished(site, server, {"executors": [shell(r"printf 'a\xff\x00\\b'; echo ok >&2")]})
    assert logs(task)[0]["stdout"] == "a\\xff\x00\\\\b"
    assert task["logs"][0]["metadata"]["executor.0.stdout.encoding"] == "backslash"
    assert logs(task)[0]["stderr"] == "ok\n"


def test_a_task_that_takes_too_long_is_ended(site: Site, server: TespServer) -> None:
    task = finished(
        site,
        server,
        {
            "executors": [shell("echo begun; sleep 600")],
            "resources": {"backend_parameters": {"timeout": "4"}},
        },
        "EXECUTOR_ERROR",
    )
    assert logs(task)[0]["stdout"] == "begun\n"
    assert any("time limit" in line for line in task["logs"][0]["system_logs"])


def test_what_runs_can_be_watched(server: TespServer, gate: Gate) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"echo so far; {gate.knock('/ran')}")]})
    server.wait(task_id, "RUNNING")
    gate.wait_for("/ran")

    def shown() -> bool:
        metadata = server.get(task_id)["logs"][0]["metadata"]
        return bool(metadata.get("executor.0.stdout") == "so far\n")

    wait_until(shown, "the live tail")
    gate.release("/ran")
    assert server.wait(task_id)["state"] == "COMPLETE"


def test_a_queued_task_is_canceled_at_once(server: TespServer, gate: Gate) -> None:
    gate.hold("/ran")
    knocking = {"executors": [shell(gate.knock("/ran"))]}
    running = [server.submit(knocking) for _ in range(SLOTS)]
    gate.wait_for("/ran", SLOTS)
    queued = server.submit({"executors": [shell(gate.knock("/never"))]})
    server.cancel(queued)
    assert server.wait(queued)["state"] == "CANCELED"
    gate.release("/ran")
    assert {server.wait(task_id)["state"] for task_id in running} == {"COMPLETE"}
    assert gate.arrived("/never") == 0


def test_a_task_is_canceled_while_its_inputs_come_in(
    site: Site, server: TespServer, gate: Gate
) -> None:
    gate.hold("/input")
    task_id = server.submit(
        {
            "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
            "executors": [shell(gate.knock("/never"))],
        }
    )
    gate.wait_for("/input")
    server.cancel(task_id)
    wait_until(lambda: server.state(task_id) in ("CANCELING", "CANCELED"), "the cancel")
    gate.release("/input")
    assert server.wait(task_id)["state"] == "CANCELED"
    site.wait_until_clean()
    assert gate.arrived("/never") == 0


def test_a_running_task_has_ended_when_it_shows_canceled(
    site: Site, server: TespServer, gate: Gate
) -> None:
    gate.hold("/ran")
    script = f"echo $$ >&2; {gate.knock('/ran')}; sleep 600"
    task_id = server.submit({"executors": [shell(script, env={"TESP_MARK": gate.url})]})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    server.cancel(task_id)
    task = server.wait(task_id)
    assert task["state"] == "CANCELED", task
    assert processes_with(f"TESP_MARK={gate.url}") == []
    assert site.places() == []


def processes_with(variable: str) -> list[int]:
    """The processes that were started with this in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if variable.encode() in environment:
            found.append(int(entry.name))
    return found


@pytest.mark.parametrize("phase", ["input", "ran", "output"])
def test_a_server_that_is_killed_runs_nothing_twice(
    site: Site, server: TespServer, gate: Gate, phase: str
) -> None:
    gate.hold(f"/{phase}")
    task_id = server.submit(
        {
            "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
            "outputs": [{"path": "/o/x", "url": f"{gate.url}/output"}],
            "executors": [shell(f"{gate.knock('/ran')}; cat /in >/o/x")],
        }
    )
    gate.wait_for(f"/{phase}")
    server.kill()
    server.start()
    gate.release(f"/{phase}")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert gate.bodies["/output"] == b"open /input\n"
    assert gate.arrived("/ran") == 1
    site.wait_until_clean()


def test_an_output_that_cannot_be_stored_fails_the_task_with_the_reason(
    site: Site, server: TespServer, gate: Gate
) -> None:
    task = finished(
        site,
        server,
        {
            "outputs": [{"path": "/o/x", "url": "http://127.0.0.1:1/nowhere"}],
            "executors": [shell("echo x >/o/x")],
        },
        "SYSTEM_ERROR",
    )
    assert any("127.0.0.1:1" in line for line in task["logs"][0]["system_logs"]), task
    assert logs(task)[0]["exit_code"] == 0


def test_an_input_that_is_not_there_fails_the_task_with_the_reason(
    site: Site, server: TespServer, gate: Gate
) -> None:
    task = finished(
        site,
        server,
        {
            "inputs": [{"path": "/in", "url": f"file://{site.files}/absent"}],
            "executors": [shell(gate.knock("/never"))],
        },
        "SYSTEM_ERROR",
    )
    assert any("absent" in line for line in task["logs"][0]["system_logs"]), task
    assert gate.arrived("/never") == 0
