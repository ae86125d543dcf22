"""Toil's way: a job store on a file system that leader and jobs share, live and at one path."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer

LEADER = Path(__file__).with_name("toil_leader.py")
Document = dict[str, Any]


@contextmanager
def leader(
    python: Path, url: str, job_store: Path, commands: Mapping[str, list[str]]
) -> Iterator[subprocess.Popen[str]]:
    """A leader that issues these commands and waits for their ends."""
    process = subprocess.Popen(
        [python, LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    asked = {"url": url, "job_store": str(job_store), "commands": commands}
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def line(process: subprocess.Popen[str]) -> Document:
    """The next thing that the leader tells."""
    assert process.stdout is not None
    told: Document = json.loads(process.stdout.readline())
    return told


@pytest.fixture
def job_store(tmp_path: Path) -> Path:
    store = tmp_path / "site" / "job-store"
    store.mkdir(parents=True)
    (store / "jobs").mkdir()
    (store / "jobs" / "root").write_text("the leader wrote this")
    return store


def shared(job_store: Path, **more: Any) -> Document:
    return {"files": [{"path": job_store.parent, "shared": True, **more}]}


@pytest.fixture(params=["sandbox", "docker"])
def url(request: pytest.FixtureRequest, start_server: StartServer, job_store: Path) -> str:
    """A server that shares the directory of the job store, with each runtime."""
    if request.param == "sandbox":
        return start_server(staging=shared(job_store)).url
    engine: DockerEngine = request.getfixturevalue("docker_engine")
    engine.load("quay.io/ucsc_cgl/toil")
    settings = request.getfixturevalue("docker_settings")
    return start_server(**settings, staging=shared(job_store)).url


def test_leader_and_job_see_each_other_s_files_while_the_job_runs(
    url: str, job_store: Path, pytes_old: Path
) -> None:
    script = (
        f"cd {job_store} && cat jobs/root >seen && mv seen answered && "
        "until [ -e go-on ]; do sleep 0.05; done && rm jobs/root && echo well >&2"
    )
    with leader(pytes_old, url, job_store, {"job": ["sh", "-c", script]}) as toil:
        told = line(toil)
        assert f"file://{job_store.parent}" in told["storages"]
        (mount,) = told["mounts"]
        assert (mount["path"], mount["type"]) == (str(job_store), "DIRECTORY")
        wait_until((job_store / "answered").exists, "the job's file is there while it runs")
        assert (job_store / "answered").read_text() == "the leader wrote this"
        (job_store / "go-on").touch()
        end = line(toil)
    assert (end["state"], end["exit_code"], end["stderr"]) == ("COMPLETE", 0, "well\n")
    assert end["seconds"] >= 0
    assert end["zone"] != "None"
    assert sorted(p.name for p in job_store.rglob("*")) == ["answered", "go-on", "jobs"]


def test_a_job_that_fails_tells_the_leader_its_code_and_its_last_words(
    start_server: StartServer, job_store: Path, pytes_old: Path
) -> None:
    server = start_server(staging=shared(job_store))
    jobs = {"bad": ["sh", "-c", "echo broken >&2; exit 3"], "absent": ["no-such-program"]}
    with leader(pytes_old, server.url, job_store, jobs) as toil:
        assert line(toil)["mounts"]
        ends = {end["name"]: end for end in (line(toil), line(toil))}
    assert (ends["bad"]["state"], ends["bad"]["exit_code"]) == ("EXECUTOR_ERROR", 3)
    assert ends["bad"]["stderr"] == "broken\n"
    assert ends["absent"]["state"] == "EXECUTOR_ERROR"
    assert ends["absent"]["exit_code"] == 127


def test_a_job_store_that_jobs_would_only_get_a_copy_of_is_not_mounted(
    start_server: StartServer, job_store: Path, pytes_old: Path
) -> None:
    copied = {"files": [{"path": job_store.parent}]}
    for staging in (copied, shared(job_store, writable=False)):
        server = start_server(staging=staging)
        with leader(pytes_old, server.url, job_store, {"job": ["true"]}) as toil:
            told = line(toil)
            assert told["mounts"] == []
            assert line(toil)["state"] == "COMPLETE"
