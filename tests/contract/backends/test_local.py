"""The local backend: jobs as processes that outlive whoever started them."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tesp.backends import Capacity, Ended, Job, Seen
from tesp.backends.local import LocalBackend
from tesp.backends.package import build
from tesp.tes.needs import Needs
from tesp.runner.plan import CANCELED, FINISHED, Executor, Mount, Plan, Runtime
from tests.peers.gate import Gate
from tests.peers.room import wait_until

RUNTIME = Runtime("sandbox", "bwrap")


def backend_in(directory: Path) -> LocalBackend:
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-I", "-S", str(build(directory))]
    return LocalBackend("local@here", directory / "work", command, RUNTIME, Capacity(4, 4, 10**9))


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[LocalBackend]:
    backend = backend_in(tmp_path / "data")
    yield backend
    await backend.close()


def plan(script: str, handle: str = "t-1") -> Plan:
    executor = Executor("none", ["bash", "-c", script])
    return Plan("t", handle, RUNTIME, [executor], [Mount("roots/0", "/o", True)])


async def prepared(backend: LocalBackend, handle: str = "t-1") -> Job:
    job = await backend.prepare(handle, 1, Needs())
    await backend.workspace(job).make_directory("roots/0")
    return job


async def end_of(backend: LocalBackend, job: Job) -> Ended:
    async for seen in backend.watch(job):
        if isinstance(seen, Ended):
            return seen
    raise AssertionError("the watch ended without an end")


async def test_a_job_runs_and_its_result_is_read(backend: LocalBackend) -> None:
    job = await prepared(backend)
    await backend.submit(job, plan("echo out; echo err >&2; exit 3"))
    ended = await end_of(backend, job)
    assert ended.result is not None
    assert ended.result.status == FINISHED
    assert ended.result.executors[0].exit_code == 3
    assert (ended.tails["0.stdout"], ended.tails["0.stderr"]) == (b"out\n", b"err\n")
    await backend.clean(job)
    await backend.clean(job)
    assert not Path(job.place).exists()


async def test_submitting_twice_runs_once(backend: LocalBackend, gate: Gate) -> None:
    job = await prepared(backend)
    for _ in range(3):
        await backend.submit(job, plan(gate.knock("/ran")))
    assert (await end_of(backend, job)).result is not None
    assert gate.arrived("/ran") == 1


async def test_what_runs_is_seen_as_it_goes(backend: LocalBackend, gate: Gate) -> None:
    gate.hold("/ran")
    job = await prepared(backend)
    await backend.submit(job, plan(f"echo so far; {gate.knock('/ran')}"))
    async for seen in backend.watch(job):
        running = isinstance(seen, Seen) and seen.progress.running == 0
        if running and seen.tails.get("0.stdout") == b"so far\n":
            gate.release("/ran")
        if isinstance(seen, Ended):
            break
    assert gate.passed("/ran") == 1


async def test_another_backend_object_follows_and_ends_the_job(
    backend: LocalBackend, gate: Gate, tmp_path: Path
) -> None:
    gate.hold("/ran")
    job = await prepared(backend)
    await backend.submit(job, plan(f"{gate.knock('/ran')}; sleep 600"))
    gate.wait_for("/ran")
    other = backend_in(tmp_path / "data")
    await other.cancel(job)
    ended = await end_of(other, job)
    assert ended.result is not None
    assert ended.result.status == CANCELED
    await other.clean(job)
    await other.close()


async def test_jobs_outlive_the_process_that_forked_them(backend: LocalBackend, gate: Gate) -> None:
    gate.hold("/ran")
    job = await prepared(backend)
    await backend.submit(job, plan(f"{gate.knock('/ran')}; echo through"))
    gate.wait_for("/ran")
    await backend.close()
    gate.release("/ran")
    ended = await end_of(backend, job)
    assert ended.tails["0.stdout"] == b"through\n"


async def test_a_warm_process_that_was_killed_is_started_anew(backend: LocalBackend) -> None:
    first, second = await prepared(backend), await prepared(backend, "t-2")
    await backend.submit(first, plan("true"))
    await end_of(backend, first)
    os.kill(parent_of_runners(backend), signal.SIGKILL)
    await backend.submit(second, plan("echo again", "t-2"))
    assert (await end_of(backend, second)).tails["0.stdout"] == b"again\n"


def parent_of_runners(backend: LocalBackend) -> int:
    mark = next(Path(backend._root).parent.glob("runner-*.pyz")).name
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[-2:-1] == [b"serve"] and any(w.endswith(mark.encode()) for w in words):
            children = (process / "stat").read_text()
            if int(children.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(process.name))
    assert len(found) == 1
    return found[0]


async def test_a_runner_that_is_killed_is_told_apart_from_one_that_never_was(
    backend: LocalBackend, gate: Gate
) -> None:
    never = await prepared(backend, "t-2")
    ended = await end_of(backend, never)
    assert (ended.result, ended.started) == (None, False)
    gate.hold("/ran")
    job = await prepared(backend)
    await backend.submit(job, plan(gate.knock("/ran")))
    gate.wait_for("/ran")
    claim = json.loads((Path(job.place) / "claim").read_text())
    os.kill(claim["pid"], signal.SIGKILL)
    ended = await end_of(backend, job)
    assert (ended.result, ended.started) == (None, True)
    await backend.clean(job)


async def test_a_canceled_job_cannot_start_any_more(backend: LocalBackend, gate: Gate) -> None:
    job = await prepared(backend)
    await backend.cancel(job)
    await backend.submit(job, plan(gate.knock("/ran")))
    ended = await end_of(backend, job)
    assert ended.result is None
    assert gate.arrived("/ran") == 0


async def test_a_new_epoch_begins_with_an_empty_workspace(backend: LocalBackend) -> None:
    old = await prepared(backend)
    (Path(old.place) / "roots/0/half").write_text("staged")
    new = await backend.prepare("t-1", 2)
    assert new.place != old.place
    assert not Path(old.place).exists()
    assert list(Path(new.place).iterdir()) == []


async def test_a_command_that_leaves_a_process_behind_is_ended_with_it(
    backend: LocalBackend,
) -> None:
    job = await prepared(backend)
    await backend.submit(job, plan("(sleep 600 >/dev/null 2>&1 &) ; echo done"))
    assert (await end_of(backend, job)).tails["0.stdout"] == b"done\n"
    await backend.clean(job)

    def marked() -> bool:
        return any(
            b"TESP_HANDLE=t-1\0" in _environ(p) for p in Path("/proc").glob("[0-9]*/environ")
        )

    wait_until(lambda: not marked(), "nothing of the task runs")


def _environ(file: Path) -> bytes:
    try:
        return file.read_bytes() + b"\0"
    except OSError:
        return b""
