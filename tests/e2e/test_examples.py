"""The worked examples, as a person runs them."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.room import free_port
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
