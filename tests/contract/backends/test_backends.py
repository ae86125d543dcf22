"""Every backend runs the same jobs, and tells the same of them."""

import hashlib
import random

from tesp.backends import Backend, Ended, Seen
from tesp.runner.plan import CANCELED, FINISHED, TIME_LIMIT, Executor, Limits, Output
from tests.contract.backends.harness import ROOT, Attempt, Harness, processes_of
from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.room import wait_until


async def test_it_says_that_it_is_there(backend: Backend) -> None:
    await backend.check()


async def test_a_job_runs_its_result_is_read_and_nothing_is_left(attempt: Attempt) -> None:
    await attempt.start("echo out; echo err >&2; exit 3")
    ended = await attempt.end()
    assert ended.result is not None
    assert ended.result.status == FINISHED
    assert [e.exit_code for e in ended.result.executors] == [3]
    assert (ended.tails["0.stdout"], ended.tails["0.stderr"]) == (b"out\n", b"err\n")
    assert attempt.remains()
    await attempt.backend.clean(attempt.job)
    await attempt.backend.clean(attempt.job)
    assert not attempt.remains()


async def test_executors_run_one_after_another_until_one_fails(attempt: Attempt) -> None:
    await attempt.start("echo 1 > /o/f", "cat /o/f; exit 4", "echo never")
    ended = await attempt.end()
    assert ended.result
    assert [e.exit_code for e in ended.result.executors] == [0, 4]
    assert ended.tails["1.stdout"] == b"1\n"
    assert not ended.tails.get("2.stdout")


async def test_submitting_again_runs_it_once(attempt: Attempt, gate: Gate) -> None:
    await attempt.prepare()
    plan = attempt.plan(gate.knock("/ran"))
    for _ in range(3):
        await attempt.submit(plan)
    assert (await attempt.result()).status == FINISHED
    await attempt.backend.submit(attempt.job, plan)
    assert (await attempt.result()).status == FINISHED
    assert gate.arrived("/ran") == 1


async def test_what_was_submitted_by_one_is_submitted_again_by_another(
    attempt: Attempt, harness: Harness, gate: Gate
) -> None:
    gate.hold("/ran")
    await attempt.start(f"{gate.knock('/ran')}; echo through")
    gate.wait_for("/ran")
    other = harness.opened()
    await other.submit(attempt.job, attempt.plan(gate.knock("/ran")))
    gate.release("/ran")
    ended = await attempt.end(other)
    await other.close()
    assert ended.tails["0.stdout"] == b"through\n"
    assert gate.arrived("/ran") == 1


async def test_what_runs_is_seen_as_it_goes(attempt: Attempt, gate: Gate) -> None:
    gate.hold("/first")
    gate.hold("/second")
    scripts = f"echo so far; {gate.knock('/first')}; echo last", f"echo on; {gate.knock('/second')}"
    await attempt.start(*scripts)
    async for seen in attempt.backend.watch(attempt.job):
        if isinstance(seen, Ended):
            break
        if seen.progress.running == 0 and seen.tails.get("0.stdout") == b"so far\n":
            gate.release("/first")
        if seen.progress.running == 1 and seen.tails.get("1.stdout") == b"on\n":
            assert [e.exit_code for e in seen.progress.ended] == [0]
            assert seen.tails["0.stdout"] == b"so far\nlast\n"
            gate.release("/second")
    assert (gate.passed("/first"), gate.passed("/second")) == (1, 1)


async def test_jobs_outlive_the_backend_object_that_started_them(
    attempt: Attempt, harness: Harness, gate: Gate
) -> None:
    gate.hold("/ran")
    await attempt.start(f"{gate.knock('/ran')}; echo through")
    gate.wait_for("/ran")
    await attempt.backend.close()
    gate.release("/ran")
    other = harness.opened()
    assert (await attempt.end(other)).tails["0.stdout"] == b"through\n"
    await other.close()


async def test_a_running_job_is_canceled_and_then_nothing_of_it_runs(
    attempt: Attempt, harness: Harness, gate: Gate
) -> None:
    gate.hold("/ran")
    await attempt.start(f"{gate.knock('/ran')}; sleep 600")
    gate.wait_for("/ran")
    other = harness.opened()
    await other.cancel(attempt.job)
    assert processes_of(attempt.handle) == []
    ended = await attempt.end(other)
    assert ended.result is not None
    assert ended.result.status == CANCELED
    await other.clean(attempt.job)
    await other.close()
    assert not attempt.remains()


async def test_a_canceled_job_cannot_start_any_more(attempt: Attempt, gate: Gate) -> None:
    await attempt.prepare()
    await attempt.backend.cancel(attempt.job)
    await attempt.submit(attempt.plan(gate.knock("/ran")))
    ended = await attempt.end()
    assert ended.result is None or ended.result.status == CANCELED
    assert gate.arrived("/ran") == 0


async def test_a_job_that_is_canceled_as_it_starts_ends(attempt: Attempt) -> None:
    await attempt.start("sleep 600")
    await attempt.backend.cancel(attempt.job)
    assert processes_of(attempt.handle) == []
    ended = await attempt.end()
    assert ended.result is None or ended.result.status == CANCELED


async def test_canceling_what_has_ended_changes_nothing(attempt: Attempt) -> None:
    await attempt.start("echo done")
    await attempt.end()
    await attempt.backend.cancel(attempt.job)
    assert (await attempt.result()).status == FINISHED


async def test_a_job_is_cleaned_although_it_runs(attempt: Attempt, gate: Gate) -> None:
    gate.hold("/ran")
    await attempt.start(f"{gate.knock('/ran')}; sleep 600")
    gate.wait_for("/ran")
    await attempt.backend.clean(attempt.job)
    assert processes_of(attempt.handle) == []
    assert not attempt.remains()


async def test_a_job_ends_at_its_time_limit(attempt: Attempt) -> None:
    await attempt.start("echo begun; sleep 600", limits=Limits(time_seconds=3.0))
    ended = await attempt.end()
    assert ended.result
    assert ended.result.status == TIME_LIMIT
    assert ended.tails["0.stdout"] == b"begun\n"


async def test_a_runner_that_is_killed_leaves_no_result_and_nothing_that_runs(
    attempt: Attempt, gate: Gate
) -> None:
    gate.hold("/ran")
    await attempt.start(f"{gate.knock('/ran')}; sleep 600")
    gate.wait_for("/ran")
    attempt.kill_runner()
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, True)
    assert "without a result" in ended.reason
    await attempt.backend.clean(attempt.job)
    wait_until(lambda: not processes_of(attempt.handle), "nothing of the task runs")
    assert not attempt.remains()


async def test_a_new_epoch_begins_with_an_empty_workspace(attempt: Attempt) -> None:
    await attempt.prepare(1)
    old = attempt.job
    await attempt.harness.staged(attempt.backend, old, attempt.plan(), {f"{ROOT}/half": b"staged"})
    await attempt.prepare(2)
    assert attempt.job.place != old.place
    assert not attempt.harness.directory(old).exists()
    await attempt.submit(attempt.plan("ls /o; echo all"))
    assert (await attempt.end()).tails["0.stdout"] == b"all\n"


async def test_streams_are_files_of_the_task(attempt: Attempt) -> None:
    await attempt.prepare()
    content = random.Random(1).randbytes(128 << 10)
    sums = Executor("none", ["sha256sum"], stdin="/o/in", stdout="/o/sum")
    wrong = Executor("none", ["ls", "/no/such/file"], stderr="/o/err", ignore_error=True)
    plan = attempt.plan(outputs=[Output("/o/sum"), Output("/o/err")])
    await attempt.submit(plan._replace(executors=[sums, wrong]), {f"{ROOT}/in": content})
    found = await attempt.outputs(await attempt.result())
    assert hashlib.sha256(content).hexdigest() == found["/o/sum"].split()[0].decode()
    assert b"/no/such/file" in found["/o/err"]


async def test_directories_and_wildcards_are_outputs(attempt: Attempt) -> None:
    await attempt.prepare()
    script = "mkdir -p /o/d/e; echo 1 >/o/d/1; echo 2 >'/o/d/e/2 + ü'; echo 3 >/o/a.txt; echo >/o/b"
    outputs = [
        Output("/o/d", type="DIRECTORY"),
        Output("/o/*.txt", prefix="/o/", pattern=True),
        Output("/o/missing"),
    ]
    await attempt.submit(attempt.plan(script, outputs=outputs))
    result = await attempt.result()
    assert result.missing == [2]
    assert {(f.output, f.name) for f in result.found} == {(0, "1"), (0, "e/2 + ü"), (1, "a.txt")}
    assert await attempt.outputs(result) == {
        "/o/d/1": b"1\n",
        "/o/d/e/2 + ü": b"2\n",
        "/o/a.txt": b"3\n",
    }


async def test_bytes_come_back_as_they_went(attempt: Attempt) -> None:
    await attempt.prepare()
    content = bytes(range(256)) * 13 + random.Random(2).randbytes(3_000_001)
    plan = attempt.plan("cp /o/deep/in /o/out", outputs=[Output("/o/out")])
    await attempt.submit(plan, {f"{ROOT}/deep/in": content})
    found = await attempt.outputs(await attempt.result())
    assert found == {"/o/out": content}


async def test_an_empty_file_comes_through(attempt: Attempt) -> None:
    await attempt.prepare()
    plan = attempt.plan("cp /o/in /o/out", outputs=[Output("/o/out")])
    await attempt.submit(plan, {f"{ROOT}/in": b""})
    assert await attempt.outputs(await attempt.result()) == {"/o/out": b""}


async def test_a_long_command_line_arrives_whole(attempt: Attempt) -> None:
    words = [f"{number:018d}$'\"`\\ \n*" for number in range(8000)]
    await attempt.prepare()
    command = ["bash", "-c", 'printf "%s|" "$@" | sha256sum', "sh", *words]
    plan = attempt.plan()._replace(executors=[Executor("none", command)])
    await attempt.submit(plan)
    ended = await attempt.end()
    assert ended.result
    assert [e.exit_code for e in ended.result.executors] == [0], ended
    said = ended.tails["0.stdout"]
    expected = hashlib.sha256("".join(f"{word}|" for word in words).encode()).hexdigest()
    assert said.split()[0].decode() == expected


async def test_noise_that_is_no_text_is_kept_byte_for_byte(attempt: Attempt) -> None:
    await attempt.start(r"printf '\xff\xfe\x00\x80 é'; printf '\xc3\x28' >&2")
    ended = await attempt.end()
    assert ended.tails["0.stdout"] == b"\xff\xfe\x00\x80 \xc3\xa9"
    assert ended.tails["0.stderr"] == b"\xc3\x28"


async def test_a_container_is_gone_when_its_job_is_canceled(
    docker_harness: Harness, docker_engine: DockerEngine
) -> None:
    backend = docker_harness.opened()
    attempt = Attempt(docker_harness, backend)
    await attempt.prepare()
    plan = attempt.plan(image=docker_engine.image)
    sleep = Executor(docker_engine.image, ["sh", "-c", "echo up; trap '' TERM; sleep 600"])
    await attempt.submit(plan._replace(executors=[sleep]))
    async for seen in backend.watch(attempt.job):
        assert isinstance(seen, Seen)
        if seen.tails.get("0.stdout"):
            break
    assert containers_of(docker_engine, attempt)
    await backend.cancel(attempt.job)
    assert containers_of(docker_engine, attempt) == []
    await backend.clean(attempt.job)
    await backend.close()
    assert not attempt.remains()


async def test_a_container_is_gone_when_its_runner_was_killed(
    docker_harness: Harness, docker_engine: DockerEngine
) -> None:
    backend = docker_harness.opened()
    attempt = Attempt(docker_harness, backend)
    await attempt.prepare()
    sleep = Executor(docker_engine.image, ["sh", "-c", "sleep 600"])
    await attempt.submit(attempt.plan()._replace(executors=[sleep]))
    wait_until(lambda: containers_of(docker_engine, attempt), "a container")
    attempt.kill_runner()
    ended = await attempt.end()
    assert ended.result is None
    await backend.clean(attempt.job)
    await backend.close()
    assert containers_of(docker_engine, attempt) == []
    assert not attempt.remains()


def containers_of(engine: DockerEngine, attempt: Attempt) -> list[str]:
    """The containers of an attempt."""
    return [name for name in engine.containers() if attempt.handle in name]
