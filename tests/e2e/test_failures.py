"""Every way to SYSTEM_ERROR ends there, with a sentence that a user can act on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.server_fixtures import StartServer
from tests.peers.swift import SwiftS3
from tests.peers.tesp_server import Document, TespServer


@pytest.fixture
def server(start_server: StartServer) -> TespServer:
    return start_server(staging={"tries": 2})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def small_disk(start_server: StartServer, tmp_path: Path) -> Iterator[TespServer]:
    """A server whose workspaces are on a disk of 6 MB."""
    work = tmp_path / "server-0" / "data" / "work"
    work.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", work], check=True)
    try:
        server = start_server()
        yield server
        server.kill()
    finally:
        subprocess.run(["umount", "--lazy", work], check=True)


def shell(script: str = "true") -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script]}


def failure(task: Document) -> str:
    assert task["state"] == "SYSTEM_ERROR", task
    return " ".join(task["logs"][-1]["system_logs"])


def test_no_such_input(server: TespServer, files: Path) -> None:
    url = f"file://{files}/absent"
    said = failure(server.run({"inputs": [{"path": "/in", "url": url}], "executors": [shell()]}))
    assert "inputs[0]" in said
    assert url in said
    assert server.leftovers() == []


def test_a_peer_that_is_not_there(server: TespServer) -> None:
    task = {"inputs": [{"path": "/in", "url": "http://127.0.0.1:9/x"}], "executors": [shell()]}
    said = failure(server.run(task))
    assert "inputs[0]" in said
    assert "127.0.0.1:9" in said


def test_wrong_credentials(start_server: StartServer, swift_s3: SwiftS3) -> None:
    bucket = swift_s3.create_bucket("wrong-keys")
    access = {
        "bucket": bucket,
        "endpoint": swift_s3.endpoint,
        "region": swift_s3.region,
        "access_key": swift_s3.access_key,
        "secret_key": "not-the-secret",
    }
    server = start_server(staging={"s3": [access], "tries": 2})
    task = {"inputs": [{"path": "/in", "url": f"s3://{bucket}/x"}], "executors": [shell()]}
    said = failure(server.run(task))
    assert "inputs[0]" in said
    assert "not-the-secret" not in said + server.log.read_text()


def test_an_output_that_the_command_did_not_write(server: TespServer, files: Path) -> None:
    task = {
        "outputs": [{"path": "/o/forgotten", "url": f"file://{files}/x"}],
        "executors": [shell()],
    }
    said = failure(server.run(task))
    assert "/o/forgotten" in said


def test_a_wildcard_that_matches_nothing_is_told_but_no_failure(
    server: TespServer, files: Path
) -> None:
    output = {"path": "/o/*.bam", "path_prefix": "/o", "url": f"file://{files}/x"}
    task = server.run({"outputs": [output], "executors": [shell()]})
    assert task["state"] == "COMPLETE", task
    assert any("/o/*.bam" in line for line in task["logs"][0]["system_logs"])


def test_an_upload_that_is_refused(start_server: StartServer, swift_s3: SwiftS3) -> None:
    access = {
        "endpoint": swift_s3.endpoint,
        "region": swift_s3.region,
        "access_key": swift_s3.access_key,
        "secret_key": swift_s3.secret_key,
    }
    server = start_server(staging={"s3": [access], "tries": 2})
    task = {
        "outputs": [{"path": "/o/x", "url": "s3://no-such-bucket/x"}],
        "executors": [shell("echo 1 >/o/x")],
    }
    said = failure(server.run(task))
    assert "outputs[0]" in said
    assert "no-such-bucket" in said


def test_an_upload_to_a_peer_that_is_gone(server: TespServer) -> None:
    task = {
        "outputs": [{"path": "/o/x", "url": "http://127.0.0.1:9/x"}],
        "executors": [shell("echo 1 >/o/x")],
    }
    said = failure(server.run(task))
    assert "outputs[0]" in said


def test_a_disk_without_the_room_that_was_asked_for(server: TespServer) -> None:
    task = {
        "inputs": [{"path": "/in", "content": "x"}],
        "executors": [shell()],
        "resources": {"disk_gb": 900000},
    }
    said = failure(server.run(task))
    assert "disk" in said.lower()


def test_a_disk_that_inputs_fill(small_disk: TespServer, gate: Gate) -> None:
    task = {
        "inputs": [{"path": f"/in/{n}", "content": "x" * 1_000_000} for n in range(8)],
        "executors": [shell()],
    }
    said = failure(small_disk.run(task))
    assert "inputs[" in said
    assert "left on the disk" in said
    assert small_disk.leftovers() == []


def test_a_disk_that_the_command_fills(small_disk: TespServer) -> None:
    script = "head -c 9000000 /dev/zero >/o/big || { echo full >&2; exit 9; }"
    task = small_disk.run({"volumes": ["/o"], "executors": [shell(script)]})
    assert task["state"] == "EXECUTOR_ERROR", task
    assert task["logs"][0]["logs"][0]["exit_code"] == 9
    assert task["logs"][0]["logs"][0]["stderr"].endswith("full\n")
    assert any("disk" in line for line in task["logs"][0]["system_logs"])
    assert small_disk.leftovers() == []


def test_a_disk_that_the_command_s_own_output_fills(small_disk: TespServer) -> None:
    executor = {**shell("head -c 9000000 /dev/zero; sleep 60"), "stdout": "/o/big"}
    said = failure(small_disk.run({"executors": [executor]}))
    assert "disk" in said.lower()
    assert small_disk.leftovers() == []


def test_an_engine_that_is_not_there_stops_the_start(
    start_server: StartServer, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "local": {"runtime": "docker"},
        "containers": {"docker_host": f"unix://{tmp_path}/nobody.sock"},
    }
    with pytest.raises(AssertionError, match="docker"):
        start_server(**settings)


def test_an_engine_that_goes_away_is_named(
    start_server: StartServer, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    socket = tmp_path / "engine.sock"
    socket.symlink_to(docker_engine.host.removeprefix("unix://"))
    server = start_server(
        local={"runtime": "docker"}, containers={"docker_host": f"unix://{socket}"}
    )
    socket.unlink()
    executor = {"image": docker_engine.image, "command": ["true"]}
    said = failure(server.run({"executors": [executor]}))
    assert "docker" in said.lower()
    assert "tesp doctor" in said
    assert server.leftovers() == []


def test_a_transfer_that_breaks_is_tried_again_as_often_as_the_settings_say(
    server: TespServer, gate: Gate
) -> None:
    task = {
        "outputs": [{"path": "/o/x", "url": f"{gate.url}/x"}],
        "executors": [shell("echo 1 >/o/x")],
    }
    assert server.run(task)["state"] == "COMPLETE"
    assert gate.bodies["/x"] == b"1\n"
