"""The worked examples, as a person runs them."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.room import free_port, wait_until
from tests.peers.server_fixtures import StartServer

_EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, url: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_EXAMPLES / name / "run.sh"],
        env={**os.environ, "TESP_URL": url, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("name", ["md5", "pipeline"])
def test_an_example_ends_well_and_shows_its_result(
    start_server: StartServer, tmp_path: Path, name: str
) -> None:
    done = run(name, start_server().url, TESP_FILES=str(tmp_path / "files"))
    assert done.returncode == 0, done.stderr
    assert "Right: " in done.stdout
    assert list((tmp_path / "files" / "examples").iterdir())


def test_the_s3_example_brings_its_server_and_ends_it(start_server: StartServer) -> None:
    port = free_port()
    access = {
        "bucket": "tesp-examples",
        "endpoint": f"http://127.0.0.1:{port}",
        "access_key": "examples",
        "secret_key": "examples",
    }
    server = start_server(staging={"s3": [access]})
    done = run("s3_wildcard", server.url, EXAMPLE_S3_PORT=str(port))
    assert done.returncode == 0, done.stderr
    assert "Right: " in done.stdout
    again = run("s3_wildcard", server.url, EXAMPLE_S3_PORT=str(port))
    assert again.returncode == 0, again.stderr


def test_an_example_whose_task_cannot_write_its_output_fails(start_server: StartServer) -> None:
    port = free_port()
    access = {"bucket": "tesp-examples", "endpoint": f"http://127.0.0.1:{free_port()}"}
    server = start_server(staging={"s3": [access], "tries": 1, "timeout_seconds": 2.0})
    done = run("s3_wildcard", server.url, EXAMPLE_S3_PORT=str(port))
    assert done.returncode != 0
    assert "SYSTEM_ERROR" in done.stderr


def test_an_example_without_a_service_says_how_to_start_one() -> None:
    done = run("md5", f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "make serve" in done.stderr


def test_every_example_of_the_readme_is_there() -> None:
    readme = (_EXAMPLES / "README.md").read_text()
    named = {p.parent.name for p in _EXAMPLES.glob("*/run.sh")}
    assert named == {"md5", "pipeline", "s3_wildcard"}
    assert all(f"examples/{name}/run.sh" in readme for name in named)


@pytest.mark.parametrize("name", ["md5", "pipeline"])
def test_the_documents_of_the_examples_run_in_containers_as_well(
    start_server: StartServer,
    docker_engine: DockerEngine,
    docker_settings: dict[str, Any],
    tmp_path: Path,
    name: str,
) -> None:
    docker_engine.load("busybox:1.36")
    url = start_server(**docker_settings).url
    done = run(name, url, TESP_FILES=str(tmp_path / "files"))
    assert done.returncode == 0, done.stderr
    assert "Right: " in done.stdout


@contextmanager
def scheduler(settings: Path, telescope: Sequence[Path]) -> Iterator["subprocess.Popen[str]"]:
    """The one of examples/agents, when it takes letters; with what it has started, a group."""
    argv = [sys.executable, _EXAMPLES / "agents" / "night.py", "scheduler", settings, *telescope]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, process_group=0) as program:
        try:
            assert line_of(program) == "ready"
            yield program
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)


def line_of(program: "subprocess.Popen[str]") -> str:
    assert program.stdout
    return program.stdout.readline().rstrip()


def ask_for(port: int, *targets: str) -> None:
    """Letters to the scheduler, whose ids are their targets."""
    with socket.create_connection(("127.0.0.1", port), 30) as agent:
        for target in targets:
            letter = {"message": "observe", "target": target, "message_id": target}
            agent.sendall(json.dumps(letter).encode() + b"\n")
            assert agent.recv(100) == b"ok\n"


def test_a_scheduler_that_was_killed_goes_on_with_its_plan(tmp_path: Path) -> None:
    port = free_port()
    settings, clouds, telescope = (tmp_path / name for name in ("s.toml", "clouds", "telescope"))
    settings.write_text(
        f'[default]\ndata_dir = "{tmp_path}"\n'
        f'[default.agents]\naddresses = {{ scheduler = "127.0.0.1:{port}" }}\n'
    )
    os.mkfifo(clouds)
    telescope.write_text(f'#!/bin/sh\necho "waits for $1"\nread line <{clouds}\n')
    telescope.chmod(0o755)
    with scheduler(settings, [telescope]) as first:
        ask_for(port, "M31", "M33", "M45")
        assert line_of(first) == "waits for M31"
        clouds.write_text("gone\n")
        assert line_of(first) == "waits for M33"
        notes = sqlite3.connect(tmp_path / "agents" / "scheduler.db")
        planned = "SELECT target FROM plan"
        wait_until(lambda: len(notes.execute(planned).fetchall()) == 3, "all is noted")
        os.killpg(first.pid, signal.SIGKILL)
    notes.close()
    with scheduler(settings, []) as second:
        ask_for(port, "M31", "M45", "M87")
        left = ("M33", "M45", "M87")
        assert [line_of(second) for _ in left] == [f"observes {one}" for one in left]
        second.terminate()
        assert line_of(second) == "closes the dome"
        assert second.wait(30) == 0


def test_the_document_shows_how_the_example_takes_notes() -> None:
    text = (_EXAMPLES.parent / "docs" / "triggers.md").read_text()
    shown = text.split("<!-- notebook -->\n```python\n")[1].split("```")[0]
    assert shown in (_EXAMPLES / "agents" / "night.py").read_text()
