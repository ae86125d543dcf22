"""A Pulsar over REST: what it says of a job, and what is true nevertheless."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tesp.backends import Ended, Seen
from tesp.backends.pulsar.rest import RestPulsarClient
from tesp.backends.pulsar.small_jobs import SmallJobs
from tesp.backends.pulsar.wire import Name
from tesp.errors import BackendRefused, BackendUnavailable, TransferFailed
from tesp.runner.plan import FINISHED, Executor, Output, Runtime
from tesp.tes.needs import Needs
from tests.contract.backends.harness import ROOT, SANDBOX, Attempt, RestHarness, pieces
from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.pulsar import PulsarServer
from tests.peers.pulsar_fixtures import MakePulsar
from tests.peers.room import Room, free_port, wait_until

SILENCE_SECONDS = 3.0


@pytest.fixture(scope="module")
def mortal_pulsar() -> Iterator[PulsarServer]:
    """A Pulsar that may be killed."""
    with Room.temporary() as room:
        yield PulsarServer.boot(room)


@pytest.fixture
def own_pulsar(mortal_pulsar: PulsarServer) -> PulsarServer:
    """The same, which is up."""
    return mortal_pulsar if mortal_pulsar.is_up() else mortal_pulsar.started()


@pytest.fixture
async def own(own_pulsar: PulsarServer) -> AsyncIterator[Attempt]:
    """An attempt on it."""
    harness = RestHarness(own_pulsar, SANDBOX)
    backend = harness.opened()
    yield Attempt(harness, backend)
    await backend.close()


@pytest.fixture
async def hasty(own_pulsar: PulsarServer) -> AsyncIterator[Attempt]:
    """The same; a job that is silent for SILENCE_SECONDS is dead."""
    harness = RestHarness(own_pulsar, SANDBOX)
    backend = harness.opened(SILENCE_SECONDS)
    yield Attempt(harness, backend)
    await backend.close()


@pytest.fixture
async def attempt(pulsar: PulsarServer) -> AsyncIterator[Attempt]:
    """An attempt on the Pulsar of all tests."""
    harness = RestHarness(pulsar, SANDBOX)
    backend = harness.opened()
    yield Attempt(harness, backend)
    await backend.close()


async def follow(attempt: Attempt) -> Ended:
    """Follow an attempt while the test does other things."""
    return await attempt.end()


async def test_a_job_ends_with_its_result_although_pulsar_was_killed_meanwhile(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await own.prepare()
    script = f"{gate.knock('/ran')}; echo through; echo 1 >/o/out; exit 5"
    await own.submit(own.plan(script, outputs=[Output("/o/out")]))
    gate.wait_for("/ran")
    following = asyncio.create_task(follow(own))
    await asyncio.to_thread(own_pulsar.kill)
    gate.release("/ran")
    result = own.harness.place(own.job) / "result.json"
    await asyncio.to_thread(wait_until, result.exists, "a result")
    await asyncio.to_thread(own_pulsar.started)
    ended = await following
    assert ended.result is not None
    assert [e.exit_code for e in ended.result.executors] == [5]
    assert ended.tails["0.stdout"] == b"through\n"
    assert await own.outputs(ended.result) == {"/o/out": b"1\n"}
    await own.backend.clean(own.job)
    assert not own.remains()


async def test_a_job_goes_on_while_pulsar_is_killed_and_started_again(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await own.start(f"{gate.knock('/ran')}; echo through")
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    await asyncio.to_thread(own_pulsar.started)
    following = asyncio.create_task(follow(own))
    gate.release("/ran")
    ended = await following
    assert ended.tails["0.stdout"] == b"through\n"
    assert gate.arrived("/ran") == 1


async def test_another_backend_object_finds_what_ended_while_pulsar_was_away(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await own.start(f"{gate.knock('/ran')}; echo through")
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    gate.release("/ran")
    result = own.harness.place(own.job) / "result.json"
    await asyncio.to_thread(wait_until, result.exists, "a result")
    await asyncio.to_thread(own_pulsar.started)
    other = own.harness.opened()
    assert (await own.end(other)).tails["0.stdout"] == b"through\n"
    await other.close()


async def test_a_job_that_died_while_pulsar_was_away_is_seen_to_be_dead(
    own_pulsar: PulsarServer, hasty: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await hasty.start(gate.knock("/ran"))
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    kill_job(hasty)
    await asyncio.to_thread(own_pulsar.started)
    ended = await hasty.end()
    assert (ended.result, ended.started) == (None, True)
    assert "no sign of life" in ended.reason
    assert "running" in ended.reason


async def test_a_job_whose_script_could_not_be_run_just_then_is_told_as_forgotten(
    attempt: Attempt, tmp_path: Path
) -> None:
    """What a thread of Pulsar's forks while another writes a script has it open for writing."""
    script = tmp_path / "in-hand"
    await attempt.prepare()
    (attempt.harness.directory(attempt.job) / "command.sh").symlink_to(script)
    with script.open("w"):
        await attempt.submit(attempt.plan("true"))
        ended = await attempt.end()
    assert (ended.result, ended.started, ended.forgotten) == (None, False, True)
    assert "Text file busy" in ended.reason
    await attempt.backend.clean(attempt.job)
    assert not attempt.remains()


async def test_a_directory_that_cannot_be_removed_at_once_is_removed_a_while_later(
    attempt: Attempt,
) -> None:
    await attempt.start("true")
    await attempt.end()
    with attempt.held_open():
        await attempt.backend.clean(attempt.job)
    assert not attempt.remains()


async def test_a_small_job_whose_script_was_in_hand_is_run_again(
    attempt: Attempt, pulsar: PulsarServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, submit, submitted = tmp_path / "in-hand", RestPulsarClient.submit, []

    async def held(self: RestPulsarClient, job: Name, *rest: Any) -> None:
        if not submitted:
            (pulsar.staging / job.id / "command.sh").symlink_to(script)
        submitted.append(job.id)
        await submit(self, job, *rest)

    monkeypatch.setattr(RestPulsarClient, "submit", held)
    settings = RestHarness(pulsar, SANDBOX).settings
    client = RestPulsarClient(settings.name, str(settings.url), settings.token)
    await attempt.prepare()
    with script.open("w"):
        await SmallJobs(settings, client).discard(Name.at(attempt.job.place))
    await client.close()
    assert len(submitted) == 2
    assert not attempt.remains()


@pytest.mark.parametrize("forgotten", ["taken out of its queue", "put into its queue"])
async def test_a_job_that_pulsar_was_killed_over_is_started_again(
    make_pulsar: MakePulsar, gate: Gate, forgotten: str
) -> None:
    """Killed at the wrong moment, Pulsar calls a job queued for ever, and has forgotten it."""
    takes_none: dict[str, Any] = {"type": "queued_python", "num_concurrent_jobs": 0}
    pulsar = make_pulsar(managers={"_default_": takes_none}).started()
    harness = RestHarness(pulsar, SANDBOX)
    backend = harness.opened()
    attempt = await Attempt(harness, backend).start(gate.knock("/ran"))
    following = asyncio.create_task(follow(attempt))
    job_id = attempt.job.place.rpartition("/")[2]
    line = harness.directory(attempt.job) / "command_line"
    active = Path(pulsar.directory) / f"persisted/_default_-active-jobs/{job_id}"
    await asyncio.to_thread(wait_until, active.exists, "a job in the queue")
    await asyncio.to_thread(pulsar.kill)
    (line if forgotten == "taken out of its queue" else active).unlink()
    pulsar.configure()
    await asyncio.to_thread(pulsar.started)
    ended = await following
    assert ended.result
    assert ended.result.status == FINISHED
    assert gate.arrived("/ran") == 1
    await backend.clean(attempt.job)
    await backend.close()
    assert pulsar.jobs() == []


def kill_job(attempt: Attempt) -> None:
    """The whole job goes, as when its node does: script, runner and all."""
    claim = json.loads((attempt.harness.place(attempt.job) / "claim").read_text())
    stat = Path(f"/proc/{claim['pid']}/stat").read_text()
    parent = int(stat.rpartition(")")[2].split()[1])
    for process in (parent, claim["pid"]):
        os.kill(process, signal.SIGKILL)


async def test_a_slow_job_with_a_heartbeat_is_not_taken_for_dead(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await own.prepare()
    await own.submit(own.plan(f"{gate.knock('/ran')}; echo through"))
    gate.wait_for("/ran")
    other = own.harness.opened(3.0)
    following = asyncio.create_task(own.end(other))
    beat = own.harness.place(own.job) / "heartbeat"
    before = beat.read_text()
    await asyncio.to_thread(
        wait_until, lambda: float(beat.read_text()) > float(before) + 5, "beats"
    )
    assert not following.done(), following.result()
    gate.release("/ran")
    assert (await following).tails["0.stdout"] == b"through\n"
    await other.close()


async def test_a_watch_waits_for_a_pulsar_that_is_stopped_for_a_while(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await own.start(f"{gate.knock('/ran')}; echo through")
    watching = own.backend.watch(own.job)
    async for seen in watching:
        if isinstance(seen, Seen) and seen.progress.running == 0:
            break
    await asyncio.to_thread(own_pulsar.stop)
    with pytest.raises(BackendUnavailable, match=r"here at .* out of reach"):
        await own.backend.check()
    for call in (own.backend.cancel, own.backend.clean):
        with pytest.raises(BackendUnavailable):
            await call(own.job)
    await asyncio.to_thread(own_pulsar.started)
    await own.backend.check()
    gate.release("/ran")
    ended = [seen async for seen in watching][-1]
    assert isinstance(ended, Ended)
    assert ended.result is not None
    await own.backend.clean(own.job)


@pytest.mark.parametrize("app", [{"private_token": "another"}, {"managers": {"other": {}}}])
async def test_a_watch_waits_while_pulsar_refuses_what_it_took_before(
    own_pulsar: PulsarServer, own: Attempt, gate: Gate, app: dict[str, Any]
) -> None:
    gate.hold("/ran")
    await own.start(f"{gate.knock('/ran')}; echo through")
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    own_pulsar.configure(**app)
    await asyncio.to_thread(own_pulsar.started)
    following = asyncio.create_task(follow(own))
    with pytest.raises(BackendRefused):
        await own.backend.check()
    gate.release("/ran")
    result = own.harness.place(own.job) / "result.json"
    await asyncio.to_thread(wait_until, result.exists, "a result")
    assert not following.done()
    await asyncio.to_thread(own_pulsar.kill)
    own_pulsar.configure()
    await asyncio.to_thread(own_pulsar.started)
    assert (await following).tails["0.stdout"] == b"through\n"


async def test_a_job_is_given_up_when_its_pulsar_stays_away(
    own_pulsar: PulsarServer, gate: Gate
) -> None:
    harness = RestHarness(own_pulsar, SANDBOX, give_up_seconds=0.5)
    backend = harness.opened()
    gate.hold("/ran")
    attempt = await Attempt(harness, backend).start(gate.knock("/ran"))
    gate.wait_for("/ran")
    await asyncio.to_thread(own_pulsar.kill)
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, True)
    assert "given up after 0.5 s" in ended.reason
    await backend.close()


async def test_a_job_whose_directory_is_lost_is_told_as_dead(hasty: Attempt, gate: Gate) -> None:
    gate.hold("/ran")
    await hasty.start(gate.knock("/ran"))
    gate.wait_for("/ran")
    wait_until(lambda: is_lost(hasty), "the loss")
    ended = await hasty.end()
    assert (ended.result, ended.started) == (None, True)
    assert "lost" in ended.reason


def is_lost(attempt: Attempt) -> bool:
    """Remove its directory; False where its runner wrote something meanwhile."""
    shutil.rmtree(attempt.harness.directory(attempt.job), ignore_errors=True)
    return not attempt.remains()


async def test_a_job_that_is_lost_before_its_start_is_refused(own: Attempt) -> None:
    await own.prepare()
    other = own.harness.opened()
    shutil.rmtree(own.harness.directory(own.job))
    with pytest.raises(BackendRefused, match="lost the job before its start"):
        await other.submit(own.job, own.plan("true"))
    await other.close()


async def test_a_job_that_was_never_submitted_is_told_as_such_and_stays_so(
    own: Attempt, gate: Gate
) -> None:
    await own.prepare()
    backend = own.harness.opened(0.5)
    ended = await own.end(backend)
    assert (ended.result, ended.started) == (None, False)
    await own.submit(own.plan(gate.knock("/ran")))
    assert (await own.result()).executors == []
    assert gate.arrived("/ran") == 0
    await backend.close()


async def test_a_job_whose_interpreter_is_missing_never_started(pulsar: PulsarServer) -> None:
    harness = RestHarness(pulsar, SANDBOX, python="/no/such/python3")
    backend = harness.opened()
    attempt = await Attempt(harness, backend).start("true")
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)
    assert "exit code 127" in ended.reason
    assert "/no/such/python3: No such file or directory" in ended.reason
    await backend.clean(attempt.job)
    await backend.close()


async def test_a_job_that_its_scheduler_refuses_never_started_and_says_why(
    make_pulsar: MakePulsar,
) -> None:
    refusing = {"type": "queued_cli", "job_plugin": "Slurm", "job_partition": "no-such"}
    control = {"type": "queued_python"}
    pulsar = make_pulsar(managers={"cluster": refusing, "control": control}).started()
    harness = RestHarness(pulsar, SANDBOX, manager="cluster", control_manager="control")
    backend = harness.opened()
    attempt = await Attempt(harness, backend).start("true")
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)
    assert "(failed" in ended.reason
    assert "It said: Failed to" in ended.reason
    await backend.clean(attempt.job)
    assert pulsar.jobs() == []
    await backend.close()


async def test_a_wrong_token_is_refused_and_never_told(
    pulsar: PulsarServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    harness = RestHarness(pulsar, SANDBOX, token=SecretStr("wr0ng+t0ken"))
    backend = harness.opened()
    with pytest.raises(BackendRefused, match="set its private_token as token") as refused:
        await backend.check()
    with pytest.raises(BackendRefused):
        await backend.prepare("t-1", 1, Needs())
    await backend.close()
    nobody = RestHarness(
        PulsarServer(free_port(), "", "", 0), SANDBOX, token=SecretStr("wr0ng+t0ken")
    ).opened()
    with pytest.raises(BackendUnavailable) as away:
        await nobody.check()
    await nobody.close()
    for error in (refused.value, away.value):
        assert "wr0ng" not in "".join(traceback.format_exception(error))
    assert "wr0ng" not in caplog.text


async def test_an_unknown_manager_is_refused_with_the_setting_to_mend(
    pulsar: PulsarServer,
) -> None:
    backend = RestHarness(pulsar, SANDBOX, manager="gpu").opened()
    with pytest.raises(BackendRefused, match="no manager gpu"):
        await backend.check()
    with pytest.raises(BackendRefused, match="no manager gpu"):
        await backend.prepare("t-1", 1, Needs())
    await backend.close()


async def test_what_is_no_pulsar_is_refused(pulsar: PulsarServer, gate: Gate) -> None:
    for url in (gate.url, f"{pulsar.url}/elsewhere"):
        backend = RestHarness(pulsar, SANDBOX, url=url).opened()
        with pytest.raises(BackendRefused, match="is no Pulsar"):
            await backend.check()
        await backend.close()


async def test_jobs_go_to_the_manager_of_their_size(make_pulsar: MakePulsar) -> None:
    kind = {"type": "queued_python"}
    pulsar = make_pulsar(managers={"small": kind, "large": kind}).started()
    classes = [
        {"manager": "large", "cpus": 8, "ram_gb": 32},
        {"manager": "small", "cpus": 1, "ram_gb": 2},
    ]
    harness = RestHarness(pulsar, SANDBOX, classes=classes)
    backend = harness.opened()
    await backend.check()
    small = await backend.prepare("s-1", 1, Needs(cpus=1, ram_bytes=10**9))
    large = await backend.prepare("l-1", 1, Needs(cpus=1, ram_bytes=3 * 10**9))
    assert (small.place, large.place) == ("small/s-1.1", "large/l-1.1")
    attempt = Attempt(harness, backend)
    attempt.job = await backend.prepare(attempt.handle, 1, Needs(cpus=2))
    await attempt.submit(attempt.plan("true"))
    assert (await attempt.result()).status == FINISHED
    await backend.close()


async def test_a_full_disk_on_the_pulsar_fails_uploads_and_jobs_and_no_more(
    make_pulsar: MakePulsar,
) -> None:
    pulsar = make_pulsar()
    mount_disk(pulsar.staging, "8m")
    harness = RestHarness(pulsar.started(), SANDBOX)
    backend = harness.opened()
    large = await Attempt(harness, backend).prepare()
    workspace = backend.workspace(large.job)
    assert workspace
    with pytest.raises(TransferFailed, match="its disk may be full"):
        await workspace.write(f"{ROOT}/large", pieces(bytes(32 << 20)))
    await backend.clean(large.job)
    filling = await Attempt(harness, backend).start("head -c 32M /dev/zero >/o/f; exit 7")
    ended = await filling.end()
    assert ended.result is not None
    assert [e.exit_code for e in ended.result.executors] == [7]
    await backend.clean(filling.job)
    small = await Attempt(harness, backend).start("echo room")
    assert (await small.end()).tails["0.stdout"] == b"room\n"
    await backend.clean(small.job)
    assert pulsar.jobs() == []
    await backend.close()


def mount_disk(place: Path, size: str) -> None:
    """Mount a small disk; it goes with the room that it is in."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place], check=True)


async def test_polls_are_answered_while_uploads_are_slow(attempt: Attempt, gate: Gate) -> None:
    slow = [await Attempt(attempt.harness, attempt.backend).prepare() for _ in range(4)]
    go_on = asyncio.Event()

    async def dripping() -> AsyncIterator[bytes]:
        yield b"first"
        await go_on.wait()
        yield b"last"

    async def upload(one: Attempt) -> int:
        workspace = one.backend.workspace(one.job)
        assert workspace
        return await workspace.write(f"{ROOT}/slow", dripping())

    uploads = [asyncio.create_task(upload(one)) for one in slow]
    await attempt.prepare()
    await attempt.backend.submit(attempt.job, attempt.plan("echo through", mounts=[]))
    assert (await attempt.end()).tails["0.stdout"] == b"through\n"
    assert not any(one.done() for one in uploads)
    go_on.set()
    assert await asyncio.gather(*uploads) == [9] * 4
    for one in (*slow, attempt):
        await one.backend.clean(one.job)


async def test_an_upload_that_pulsar_does_not_live_to_see_is_an_outage(
    own_pulsar: PulsarServer, own: Attempt
) -> None:
    await own.prepare()

    killing: list[asyncio.Task[None]] = []

    async def cut() -> AsyncIterator[bytes]:
        yield b"x" * 65536
        killing.append(asyncio.create_task(asyncio.to_thread(own_pulsar.kill)))
        while True:
            yield b"x" * 65536

    workspace = own.backend.workspace(own.job)
    assert workspace
    with pytest.raises(BackendUnavailable):
        await workspace.write(f"{ROOT}/file", cut())
    await killing[0]
    await asyncio.to_thread(own_pulsar.started)
    assert await workspace.write(f"{ROOT}/file", pieces(b"whole")) == 5
    await own.submit(own.plan("cat /o/file"))
    assert (await own.end()).tails["0.stdout"] == b"whole"


async def test_an_upload_that_is_left_in_the_middle_leaves_nothing(attempt: Attempt) -> None:
    await attempt.prepare()
    sent = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536
            sent.set()
            await asyncio.sleep(0)

    workspace = attempt.backend.workspace(attempt.job)
    assert workspace
    upload = asyncio.create_task(workspace.write(f"{ROOT}/file", endless()))
    await sent.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await attempt.backend.clean(attempt.job)
    # What Pulsar does with a request that it comes to only now.
    (attempt.harness.place(attempt.job) / ROOT).mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(wait_until, lambda: not attempt.remains(), "nothing is left")


async def test_a_start_that_is_left_in_the_middle_leaves_nothing(
    own_pulsar: PulsarServer, own: Attempt
) -> None:
    await own.prepare()
    with own_pulsar.frozen():
        starting = asyncio.create_task(own.backend.submit(own.job, own.plan("true")))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await own.backend.clean(own.job)
    # What Pulsar does with a request that it comes to only now.
    own.harness.place(own.job).mkdir(parents=True, exist_ok=True)
    await asyncio.to_thread(wait_until, lambda: not own.remains(), "nothing is left")


async def test_a_directory_whose_making_is_left_in_the_middle_goes(
    own_pulsar: PulsarServer, own: Attempt
) -> None:
    made = own_pulsar.staging / f"{own.handle}.1"
    with own_pulsar.frozen():
        preparing = asyncio.create_task(own.backend.prepare(own.handle, 1, Needs()))
        await asyncio.sleep(0)
        preparing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await preparing
    made.mkdir(exist_ok=True)
    await asyncio.to_thread(wait_until, lambda: not made.exists(), "nothing is left")


async def test_a_job_that_is_canceled_before_its_start_is_known_to_have_ended(
    attempt: Attempt,
) -> None:
    await attempt.prepare()
    await attempt.backend.cancel(attempt.job)
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)
    assert "canceled before its start" in ended.reason
    await attempt.backend.clean(attempt.job)


# Removes nothing by its name, as a runner does at its end, before it may.
LINGERING = """#!/bin/sh
case "$*" in rm*tesp-*)
    i=0; until test -e {go} || test $i -eq 2400; do i=$((i+1)); sleep 0.05; done;;
esac
exec {docker} "$@"
"""


@pytest.fixture
async def lingering(
    pulsar: PulsarServer, docker_engine: DockerEngine, tmp_path: Path
) -> AsyncIterator[Attempt]:
    """An attempt whose runner has its result written, and then removes no container before there
    is a file `go`."""
    program, go = tmp_path / "docker", tmp_path / "go"
    program.write_text(LINGERING.format(go=go, docker=shutil.which("docker")))
    program.chmod(0o755)
    environment = {"DOCKER_HOST": docker_engine.host}
    runtime = Runtime("docker", str(program), network="host", environment=environment)
    harness = RestHarness(pulsar, runtime)
    backend = harness.opened()
    yield await Attempt(harness, backend).prepare()
    go.touch()
    await backend.close()


async def submit(attempt: Attempt, engine: DockerEngine, script: str) -> None:
    """Have the script run in a container."""
    executor = Executor(engine.image, ["sh", "-c", script])
    await attempt.submit(attempt.plan()._replace(executors=[executor]))


async def test_a_cancel_ends_when_the_container_is_gone_and_not_when_there_is_a_result(
    lingering: Attempt, docker_engine: DockerEngine, tmp_path: Path
) -> None:
    await submit(lingering, docker_engine, "echo up; sleep 600")
    async for seen in lingering.backend.watch(lingering.job):
        if isinstance(seen, Ended) or seen.tails.get("0.stdout"):
            break
    await lingering.backend.cancel(lingering.job)
    assert not [name for name in docker_engine.containers() if lingering.handle in name]
    (tmp_path / "go").touch()
    await lingering.backend.clean(lingering.job)
    assert not lingering.remains()


async def test_a_job_that_has_its_result_is_given_time_to_leave_before_it_is_removed(
    lingering: Attempt,
    pulsar: PulsarServer,
    docker_engine: DockerEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tesp.backends.pulsar.closing._LEAVE_SECONDS", 120.0)
    await submit(lingering, docker_engine, "true")
    result = lingering.harness.place(lingering.job) / "result.json"
    await asyncio.to_thread(wait_until, result.exists, "a result")
    cleaning = asyncio.create_task(lingering.backend.clean(lingering.job))
    await asyncio.wait([cleaning], timeout=3)
    assert (cleaning.done(), lingering.remains()) == (False, True)
    (tmp_path / "go").touch()
    await cleaning
    assert not lingering.remains()
    books = Path(pulsar.directory) / "persisted" / "_default_-active-jobs"
    assert lingering.job.place.rpartition("/")[2] not in {job.name for job in books.iterdir()}
