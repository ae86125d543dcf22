"""Nextflow's requests, replayed: its files are there when it sees the end, and a run survives."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.nextflow import (
    Bucket,
    Nextflow,
    Process,
    SharedDirectory,
    WorkDirectory,
    image_with_bash,
)
from tests.peers.room import Room, wait_until
from tests.peers.s3_server import S3Server
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

Run = Callable[..., Nextflow]
CONTROL = (".command.out", ".command.err", ".command.log", ".exitcode")


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[Bucket, S3Server]]:
    with Room.temporary() as room:
        server = S3Server.boot(room)
        server.make_bucket("nxf")
        yield Bucket(server.client(), "nxf"), server


@pytest.fixture(params=["shared", "s3"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> WorkDirectory:
    if request.param == "shared":
        return SharedDirectory(tmp_path / "pipelines" / "work")
    made: Bucket = request.getfixturevalue("bucket")[0]
    return made


@pytest.fixture
def staging(tmp_path: Path, bucket: tuple[Bucket, S3Server]) -> dict[str, Any]:
    (tmp_path / "pipelines").mkdir()
    access = bucket[1].access()
    keys = {"access_key": "a-key", "secret_key": "a-secret"}
    return {
        "files": [{"path": tmp_path / "pipelines", "shared": True}],
        "s3": [{"endpoint": access.endpoint, **keys}],
        "tries": 2,
    }


@pytest.fixture
def server(start_server: StartServer, staging: dict[str, Any]) -> TespServer:
    return start_server(staging=staging, dispatch={"lease_seconds": 2.0}, local={"cpus": 4.0})


@pytest.fixture
def run(server: TespServer) -> Iterator[Run]:
    runs: list[Nextflow] = []

    def begin(work: WorkDirectory, endpoint: str = "", **more: Any) -> Nextflow:
        runs.append(Nextflow(endpoint or server.url, work, **more))
        return runs[-1]

    yield begin
    for one in runs:
        one.close()


def test_everything_is_there_when_a_process_has_completed(run: Run, work: WorkDirectory) -> None:
    work.write("up/reads 1.fq", b"ACGT\n")
    work.write("up/index/part/one", b"1\n")
    script = (
        "tr ACGT TGCA <'reads 1.fq' >out.1.txt; cp -r index/. copied; mkdir d; echo 2 >d/two\n"
        "echo x >k.bam; echo y >k.bai; echo z >l.vcf; echo said; echo warned >&2"
    )
    outputs = ["out.?.txt", "copied", "d/", "k.{bam,bai}", "*.{vcf,bcf}"]
    process = Process(
        "align (1)", script, {"reads 1.fq": "up/reads 1.fq", "index": "up/index/"}, outputs
    )
    task = run(work).submit(process).wait()
    assert task.exit_status == 0, task.message
    expected = {
        ".exitcode": b"0",
        ".command.out": b"said\n",
        ".command.err": b"warned\n",
        "out.1.txt": b"TGCA\n",
        "copied/part/one": b"1\n",
        "d/two": b"2\n",
        "k.bam": b"x\n",
        "k.bai": b"y\n",
        "l.vcf": b"z\n",
    }
    assert {name: task.read(name) for name in expected} == expected
    assert sorted((task.read(".command.log") or b"").split()) == [b"said", b"warned"]


def test_what_there_is_comes_back_from_a_process_that_failed(
    run: Run, work: WorkDirectory, server: TespServer
) -> None:
    process = Process("broken", "echo part >x.txt; echo why >&2; exit 7", {}, ["x.txt", "y.txt"])
    task = run(work).submit(process).wait()
    assert task.exit_status == 7
    assert task.read(".exitcode") == b"7"
    assert task.read(".command.err") == b"why\n"
    assert task.read("x.txt") == b"part\n"
    assert "why" in task.message
    assert server.state(task.id) == "EXECUTOR_ERROR"


def test_an_endpoint_with_a_slash_at_its_end_works(
    run: Run, server: TespServer, tmp_path: Path
) -> None:
    work = SharedDirectory(tmp_path / "pipelines" / "work")
    task = run(work, f"{server.url}/").submit(Process("hi", "echo hi")).wait()
    assert (task.exit_status, task.read(".command.out")) == (0, b"hi\n")


def test_scripts_of_the_pipeline_are_on_the_path(run: Run, work: WorkDirectory) -> None:
    nextflow = run(work, scripts={"greet.sh": "#!/bin/bash\necho hello $1\n"})
    task = nextflow.submit(Process("greet", "greet.sh you")).wait()
    assert (task.exit_status, task.read(".command.out")) == (0, b"hello you\n"), task.message


@pytest.fixture(params=["sandbox", "docker"])
def anywhere(
    request: pytest.FixtureRequest, start_server: StartServer, staging: dict[str, Any]
) -> tuple[TespServer, str]:
    """A server of each runtime, and an image with bash there."""
    if request.param == "sandbox":
        return start_server(staging=staging), "quay.io/nextflow/bash"
    engine: DockerEngine = request.getfixturevalue("docker_engine")
    settings = request.getfixturevalue("docker_settings")
    return start_server(**settings, staging=staging), image_with_bash(engine)


def test_nothing_of_a_shared_work_directory_is_copied(
    anywhere: tuple[TespServer, str], tmp_path: Path
) -> None:
    server, image = anywhere
    work = SharedDirectory(tmp_path / "pipelines" / "work")
    work.write("up/big", b"0" * 100_000)
    work.write("up/dir/one", b"1")
    script = (
        "head -c 100000 /dev/zero >made; mkdir d; echo >d/x; "
        "stat -L -c %d:%i big dir/one made d/x; pwd -P"
    )
    inputs = {"big": "up/big", "dir": "up/dir/"}
    nextflow = Nextflow(server.url, work)
    task = nextflow.submit(Process("big", script, inputs, ["made", "d/*"], image)).wait()
    nextflow.close()
    assert task.exit_status == 0, server.get(task.id)
    own = work.path / task.folder
    files = [work.path / "up/big", work.path / "up/dir/one", own / "made", own / "d/x"]
    known = [f"{f.stat().st_dev}:{f.stat().st_ino}" for f in files]
    assert (task.read(".command.out") or b"").decode().split() == [*known, "/work"]
    (log,) = server.get(task.id)["logs"]
    assert log["metadata"]["input_bytes"] == "0"
    sent = {o["url"]: o["size_bytes"] for o in log["outputs"]}
    assert sent[str(own / "made")] == "100000"
    assert sent[str(own / "d/x")] == "1"
    assert (own / "big").readlink() == work.path / "up/big"
    assert server.leftovers() == []


def test_a_link_that_only_the_container_can_follow_becomes_the_file_it_leads_to(
    run: Run, tmp_path: Path
) -> None:
    work = SharedDirectory(tmp_path / "pipelines" / "work")
    work.write("up/in", b"in\n")
    script = "echo 1 >one; ln -s $PWD/one absolute; ln -s one relative; ln -s in input"
    outputs = ["absolute", "relative", "input"]
    task = run(work).submit(Process("links", script, {"in": "up/in"}, outputs)).wait()
    assert task.exit_status == 0, task.message
    assert [task.read(name) for name in outputs] == [b"1\n", b"1\n", b"in\n"]
    own = work.path / task.folder
    assert not (own / "absolute").is_symlink()
    assert (own / "relative").is_symlink()
    assert (own / "input").resolve() == work.path / "up/in"


def test_a_run_goes_on_when_the_server_is_killed_in_its_middle(
    run: Run, work: WorkDirectory, server: TespServer, gate: Gate
) -> None:
    nextflow = run(work)
    paths = [f"/process-{n}" for n in range(3)]
    for path in paths:
        gate.hold(path)
    tasks = [
        nextflow.submit(Process(f"p{n}", f"{gate.knock(path)}; echo {n} >out", {}, ["out"]))
        for n, path in enumerate(paths)
    ]
    for path in paths:
        gate.wait_for(path)
    assert not any(task.poll() for task in tasks)
    gate.release(paths[0])
    server.kill()
    gate.release(paths[1])
    server.start()
    gate.release(paths[2])
    for number, task in enumerate(tasks):
        assert task.wait().exit_status == 0, task.message
        assert task.read("out") == f"{number}\n".encode()
        assert task.read(".exitcode") == b"0"
        assert gate.arrived(paths[number]) == 1
    joined = {f"out{n}": f"{task.folder}/out" for n, task in enumerate(tasks)}
    last = nextflow.submit(Process("join", "cat out0 out1 out2", joined)).wait()
    assert last.read(".command.out") == b"0\n1\n2\n"


def test_ctrl_c_ends_a_task(run: Run, work: WorkDirectory, server: TespServer) -> None:
    task = run(work).submit(Process("long", "sleep 600"))
    server.wait(task.id, "RUNNING")
    task.cancel()
    wait_until(task.poll, "its end is seen")
    assert server.state(task.id) == "CANCELED"


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A disk of 6 MB at that place."""
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def small_workspaces(tmp_path: Path) -> Iterator[None]:
    """The first server's workspaces are on a small disk."""
    with small_disk(tmp_path / "server-0" / "data" / "work"):
        yield


def test_nextflow_tells_of_a_disk_that_inputs_fill(
    small_workspaces: None, run: Run, bucket: tuple[Bucket, S3Server]
) -> None:
    work = bucket[0]
    work.write("up/large", b"0" * 9_000_000)
    task = run(work).submit(Process("large", "true", {"large": "up/large"})).wait()
    assert task.exit_status == 1
    assert "inputs[2]" in task.message
    assert "left on the disk" in task.message


def test_nextflow_tells_of_a_disk_that_the_command_fills(
    small_workspaces: None, run: Run, bucket: tuple[Bucket, S3Server]
) -> None:
    script = "head -c 9000000 /dev/zero >large"
    task = run(bucket[0]).submit(Process("fills", script, {}, ["large"])).wait()
    assert task.exit_status == 1
    assert "No space left on device" in task.message


def test_nextflow_tells_of_a_shared_disk_that_is_full(run: Run, tmp_path: Path) -> None:
    work = SharedDirectory(tmp_path / "pipelines" / "small")
    with small_disk(work.path):
        script = "head -c 9000000 /dev/zero >large"
        task = run(work).submit(Process("fills", script, {}, ["large"])).wait()
        assert task.exit_status == 1
        assert "No space left on device" in task.message
