"""What is laid out in a workspace for those who carry files by their names alone."""

import contextlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.runner import plan as p
from tesp.runner.plan import Mount, Output
from tests.contract.runner.node import Node, Workspace, wait_for
from tests.contract.runner.test_docker import Unprivileged
from tests.peers.docker_engine import DockerEngine


def published(ws: Workspace) -> dict[str, bytes]:
    """Every published file by its path below the published directory."""
    top = ws.path / p.PUBLISHED_DIR
    return {str(f.relative_to(top)): f.read_bytes() for f in top.rglob("*") if f.is_file()}


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory on another file system."""
    path = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield path
    shutil.rmtree(path)


def test_directories_are_made_open_for_the_container(node: Node) -> None:
    ws = node.workspace()
    plan = node.plan(
        node.shell("cd /data; find . -type d | sort; touch x a/x b/c/x"),
        directories=["roots/0", "roots/0/a"],
    )
    (ws.path / p.PLAN_FILE).write_text(json.dumps(plan.to_json()))
    marker = ws.path / p.DIRECTORIES_DIR / "roots" / "0" / "b" / "c" / "_"
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert ws.start().wait(60) == 0
    assert ws.tail("0.stdout").decode().split() == [".", "./a", "./b", "./b/c"]
    assert not (ws.files / "b" / "c" / "_").exists()
    for path in ("roots/0", "roots/0/a", "roots/0/b", "roots/0/b/c"):
        assert (ws.path / path).stat().st_mode & 0o777 == 0o777


def test_a_directory_out_of_the_workspace_is_not_made(sandbox: Node) -> None:
    ws = sandbox.workspace()
    result = ws.run(sandbox.plan(sandbox.shell("true"), directories=["a/../../b"]))
    assert (result.status, result.reason) == (p.FAILED, p.INTERNAL)
    assert not (ws.path.parent / "b").exists()


def test_what_was_found_is_linked_by_output_size_and_name(node: Node) -> None:
    ws = node.workspace()
    script = (
        "cd /data; printf 12345 > one; mkdir -p d/é; printf 1 > d/x; printf 22 > 'd/é/y z';"
        "printf 1 > a.txt; ln -s a.txt b.txt"
    )
    outputs = [
        Output("/data/one"),
        Output("/data/d"),
        Output("/data/*.txt", prefix="/data/", pattern=True),
        Output("/data/none"),
    ]
    result = ws.run(node.plan(node.shell(script), outputs=outputs, publish=True))
    assert result.status == p.FINISHED
    assert published(ws) == {
        "0/5/file": b"12345",
        "1/1/below/x": b"1",
        "1/2/below/é/y z": b"22",
        "2/1/below/a.txt": b"1",
        "2/1/below/b.txt": b"1",
    }
    assert (ws.path / result.found[0].file).samefile(ws.path / p.PUBLISHED_DIR / "0/5/file")


def test_nothing_is_published_unasked_nor_of_a_canceled_task(node: Node) -> None:
    ws, other = node.workspace(), node.workspace()
    executor = node.shell("echo x > /data/x; echo go; sleep 60")
    ws.write(node.plan(executor, outputs=[Output("/data/x")], publish=True))
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    ws.cancel()
    runner.wait(60)
    other.run(node.plan(node.shell("echo x > /data/x"), outputs=[Output("/data/x")]))
    assert (ws.result().status, len(ws.result().found)) == (p.CANCELED, 1)
    assert len(other.result().found) == 1
    assert published(ws) == published(other) == {}


def test_a_file_on_another_file_system_is_copied_and_stays(sandbox: Node, elsewhere: Path) -> None:
    ws = sandbox.workspace()
    (elsewhere / "x").write_bytes(b"x" * 3_000_000)
    mounts = [Mount(str(elsewhere), "/shared", True)]
    plan = sandbox.plan(
        sandbox.shell("true"), mounts=mounts, outputs=[Output("/shared/x")], publish=True
    )
    result = ws.run(plan)
    assert published(ws) == {"0/3000000/file": b"x" * 3_000_000}
    assert result.found[0].file == str(elsewhere / "x")
    assert (elsewhere / "x").exists()


def test_a_failing_task_publishes_what_it_left(sandbox: Node) -> None:
    ws = sandbox.workspace()
    script = "echo x > /data/x; exit 3"
    ws.run(sandbox.plan(sandbox.shell(script), outputs=[Output("/data/x")], publish=True))
    assert published(ws) == {"0/2/file": b"x\n"}


def test_what_root_wrote_in_a_container_is_published_as_a_users_own(
    docker: Node, docker_engine: DockerEngine, pyz: Path
) -> None:
    server = Unprivileged(docker, docker_engine, pyz)
    ws = server.workspace()
    script = "echo x > /data/x; mkdir -m 0 /data/d; echo y > /data/d/y; chmod 0 /data/d/y"
    outputs = [Output("/data/x"), Output("/data/d")]
    plan = docker.plan(docker.shell(script), outputs=outputs, publish=True)
    server.write(ws, plan)
    assert ws.start(server.prefix).wait(60) == 0
    assert published(ws) == {"0/2/file": b"x\n", "1/2/below/y": b"y\n"}
    for file in (ws.path / p.PUBLISHED_DIR).rglob("*"):
        assert (file.stat().st_uid, file.stat().st_mode & 0o400) == (Unprivileged.uid, 0o400)
    assert (ws.files / "x").samefile(ws.path / p.PUBLISHED_DIR / "0/2/file")


def test_a_beat_is_the_time_as_text(sandbox: Node) -> None:
    ws = sandbox.workspace()
    ws.write(sandbox.plan(sandbox.shell("sleep 60"), heartbeat_seconds=0.05))
    began = time.time()
    runner = ws.start()
    beat = ws.path / p.HEARTBEAT_FILE
    wait_for(beat.exists, "a beat")
    first = float(beat.read_text())
    assert began - 1 < first <= time.time() + 0.001  # it is rounded
    wait_for(lambda: float(beat.read_text()) > first + 0.1, "later beats, each of them whole")
    ws.cancel()
    runner.wait(60)


def test_a_heart_beats_on_a_full_disk(sandbox: Node) -> None:
    ws = sandbox.workspace()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", ws.path], check=True)
    try:
        ws.write(sandbox.plan(sandbox.shell("sleep 60"), heartbeat_seconds=0.05))
        runner = ws.start()
        beat = ws.path / p.HEARTBEAT_FILE
        wait_for(lambda: (ws.path / p.PROGRESS_FILE).exists(), "the executor")
        with contextlib.suppress(OSError), (ws.path / "filler").open("wb", 0) as filler:
            while True:
                filler.write(bytes(4096))
        full = float(beat.read_text())
        wait_for(lambda: float(beat.read_text()) > full + 0.1, "beats after that")
        (ws.path / "filler").unlink()
        ws.cancel()
        runner.wait(60)
    finally:
        subprocess.run(["umount", "-l", ws.path], check=True)
