"""What every runtime promises: one suite, run over the sandbox and over a real engine."""

import json
import os
import signal
from pathlib import Path

import pytest

from tesp.runner import plan as p
from tesp.runner.plan import Limits, Mount, Output
from tests.contract.runner.node import Node, Workspace, wait_for

HOSTILE_NAMES = ["a:b", "c,d", 'e"f', "g'h", "i\nj", "k l", "--m", "n=o", "pé"]


def exit_codes(result: p.Result) -> list[int]:
    return [e.exit_code for e in result.executors]


def test_the_command_is_the_exact_argv(node: Node) -> None:
    script = 'for a in "$@"; do printf "<%s>" "$a"; done'
    words = ["a b", "", "$HOME", "*", "quote'\"", "line\nfeed", "--rm"]
    ws = node.workspace()
    result = ws.run(node.plan(node.executor("sh", "-c", script, "sh", *words)))
    assert exit_codes(result) == [0]
    assert ws.tail("0.stdout").decode() == "".join(f"<{w}>" for w in words)


def test_the_environment_arrives_as_it_is(node: Node) -> None:
    values = {
        "PLAIN": "x",
        "SPACES": " a  b ",
        "LINES": "one\ntwo\n",
        "QUOTES": "'\"`$(id)\\",
        "HASH": "#no comment",
        "CARRIAGE": "a\r",
        "UNICODE": "žluťoučký",
        "LONG": "x" * 100_000,
        "LD_PRELOAD": "",
        "DOCKER_HOST": "unix:///nowhere",
        "odd.name-1": "y",
    }
    ws = node.workspace()
    ws.run(node.plan(node.executor("cat", "/proc/self/environ", env=values), tail_bytes=1 << 20))
    seen = dict(e.split("=", 1) for e in ws.tail("0.stdout").decode().split("\0") if e)
    assert {k: seen.get(k) for k in values} == values


def test_a_value_of_the_environment_is_not_on_a_command_line(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("echo go; sleep 60", env={"TOKEN": "very-secret-word"})))
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout"), "the executor")
    shown = b"".join(_read(f) for f in Path("/proc").glob("[0-9]*/cmdline"))
    ws.cancel()
    runner.wait(60)
    assert b"sleep" in shown
    assert b"very-secret-word" not in shown


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _running(ws: Workspace) -> bool:
    file = ws.path / p.PROGRESS_FILE
    return file.exists() and json.loads(file.read_text())["running"] is not None


def test_stdout_and_stderr_are_kept_apart_and_whole_through_binary_noise(node: Node) -> None:
    ws = node.workspace()
    noise = bytes(range(256)) * 4096
    plan = node.plan(
        node.shell(
            "cat /data/noise; cat /data/noise >&2", stdout="/data/deep/out", stderr="/data/err"
        ),
        tail_bytes=1000,
    )
    ws.write(plan)
    (ws.files / "noise").write_bytes(noise)
    ws.start().wait(60)
    assert ws.result().status == p.FINISHED
    assert (ws.files / "deep" / "out").read_bytes() == noise
    assert (ws.files / "err").read_bytes() == noise
    assert ws.tail("0.stdout") == noise[-1000:]
    assert ws.tail("0.stderr") == noise[-1000:]


def test_ten_megabytes_of_output_leave_a_small_tail_and_a_complete_file(node: Node) -> None:
    ws = node.workspace()
    plan = node.plan(
        node.shell("yes 123456789 | head -n 1000000", stdout="/data/out"), tail_bytes=100
    )
    assert exit_codes(ws.run(plan)) == [0]
    assert (ws.files / "out").stat().st_size == 10_000_000
    assert ws.tail("0.stdout") == b"123456789\n" * 10


def test_the_tail_is_there_while_the_command_runs(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("echo early; sleep 60")))
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout") == b"early\n", "the tail")
    assert not ws.has_result()
    ws.cancel()
    runner.wait(60)


def test_stdin_is_read_from_a_file_and_is_empty_without_one(node: Node) -> None:
    ws = node.workspace()
    plan = node.plan(
        node.shell("cat; echo one"),
        node.executor("cat", stdin="/data/in"),
        node.shell("head -c 3", stdin="/data/in"),
    )
    ws.write(plan)
    (ws.files / "in").write_bytes(b"from a file")
    ws.start().wait(60)
    tails = [ws.tail(f"{i}.stdout") for i in range(3)]
    assert tails == [b"one\n", b"from a file", b"fro"]


def test_a_stdin_that_is_not_there_fails_with_its_path(node: Node) -> None:
    result = node.workspace().run(node.plan(node.executor("cat", stdin="/data/nothing")))
    assert (result.status, result.reason) == (p.FAILED, p.RUNTIME_ERROR)
    assert "/data/nothing" in str(result.message)


def test_a_working_directory_is_made_where_there_is_none(node: Node) -> None:
    ws = node.workspace()
    ws.run(node.plan(node.executor("pwd", workdir="/some/where"), node.executor("pwd")))
    assert ws.tail("0.stdout") == b"/some/where\n"


def test_a_relative_file_lands_in_the_working_directory(node: Node) -> None:
    ws = node.workspace()
    ws.run(node.plan(node.shell("echo x > here", workdir="/data")))
    assert (ws.files / "here").read_text() == "x\n"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_mounts_and_streams_take_any_path(node: Node, name: str) -> None:
    ws = node.workspace()
    mounts = [
        Mount(f"roots/{name}", f"/work/{name}", True),
        Mount(f"inputs/{name}", f"/in/{name}", False),
    ]
    plan = node.plan(
        node.shell('cat "$0"/file; touch "$0"/no; echo done > "$1"/made', stdout=f"/work/{name}/o"),
        mounts=mounts,
        outputs=[Output(f"/work/{name}/made")],
    )
    plan = plan._replace(
        executors=[
            plan.executors[0]._replace(
                command=[*plan.executors[0].command, f"/in/{name}", f"/work/{name}"]
            )
        ]
    )
    ws.write(plan)
    (ws.path / "inputs" / name / "file").write_text("input")
    ws.start().wait(60)
    result = ws.result()
    assert [f.file for f in result.found] == [f"roots/{name}/made"], result
    assert (ws.path / "roots" / name / "o").read_text() == "input"
    assert not (ws.path / "inputs" / name / "no").exists()


@pytest.mark.parametrize("code", [0, 1, 3, 125, 126, 127, 255])
def test_the_exit_code_is_the_programs_own(node: Node, code: int) -> None:
    result = node.workspace().run(node.plan(node.shell(f"exit {code}")))
    assert (result.status, exit_codes(result)) == (p.FINISHED, [code])
    assert result.warnings == []


def test_a_program_killed_by_a_signal_tells_which(node: Node) -> None:
    result = node.workspace().run(node.plan(node.shell("sh -c 'kill -9 $$'; exit $?")))
    assert exit_codes(result) == [137]


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc", 126)])
def test_a_command_that_cannot_be_started_is_the_commands_failure(
    node: Node, command: str, code: int
) -> None:
    result = node.workspace().run(node.plan(node.executor(command)))
    assert (result.status, exit_codes(result)) == (p.FINISHED, [code])
    assert "The command was not started" in result.warnings[0]


def test_a_failed_executor_stops_the_rest_but_not_where_errors_are_ignored(node: Node) -> None:
    ws = node.workspace()
    stopped = ws.run(node.plan(node.shell("exit 2"), node.shell("echo x >> /data/ran")))
    assert exit_codes(stopped) == [2]
    assert not (ws.files / "ran").exists()
    ws = node.workspace()
    ignored = node.shell("exit 2", ignore_error=True)
    assert exit_codes(ws.run(node.plan(ignored, node.shell("echo x >> /data/ran")))) == [2, 0]
    assert (ws.files / "ran").read_text() == "x\n"


def test_outputs_are_collected_after_a_failure_too(node: Node) -> None:
    plan = node.plan(
        node.shell("echo x > /data/made; exit 1"),
        outputs=[Output("/data/made"), Output("/data/no")],
    )
    result = node.workspace().run(plan)
    assert [f.path for f in result.found] == ["/data/made"]
    assert (result.types, result.missing) == (["FILE", None], [1])


def test_executors_have_times_and_figures(node: Node) -> None:
    script = (
        "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done;"
        " dd if=/dev/zero of=/dev/null bs=60M count=1"
    )
    result = node.workspace().run(node.plan(node.shell(script)))
    ended = result.executors[0]
    assert result.start_time <= ended.start_time <= ended.end_time <= result.end_time
    assert (ended.cpu_seconds or 0) > 0.05
    assert 60_000_000 < (ended.peak_memory_bytes or 0) < 300_000_000


@pytest.mark.parametrize("how", ["file", "signal"])
def test_a_cancel_ends_what_ignores_sigterm_and_what_it_left_behind(node: Node, how: str) -> None:
    ws = node.workspace()
    plan = node.plan(
        node.shell(
            "trap '' TERM; echo x > /data/made; sleep 1000 & echo go; while :; do sleep 1; done"
        ),
        node.shell("echo x > /data/second"),
        outputs=[Output("/data/made")],
    )
    ws.write(plan)
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    if how == "file":
        ws.cancel()
    else:
        os.kill(runner.pid, signal.SIGTERM)
    assert runner.wait(60) == 0
    result = ws.result()
    assert (result.status, exit_codes(result)) == (p.CANCELED, [137])
    assert [f.path for f in result.found] == ["/data/made"]
    assert not (ws.files / "second").exists()
    assert not _marked(plan.handle)


def test_a_cancel_before_the_start_runs_nothing(node: Node) -> None:
    ws = node.workspace()
    ws.cancel()
    result = ws.run(node.plan(node.shell("echo x > /data/ran")))
    assert (result.status, result.executors) == (p.CANCELED, [])
    assert not (ws.files / "ran").exists()


def test_the_time_limit_ends_the_task_and_says_so(node: Node) -> None:
    ws = node.workspace()
    plan = node.plan(
        node.shell("echo x > /data/made; sleep 1000", ignore_error=True),
        node.shell("echo x > /data/second"),
        limits=Limits(time_seconds=6.0),  # an engine starts the command after the clock
        outputs=[Output("/data/made")],
    )
    result = ws.run(plan)
    assert (result.status, exit_codes(result)) == (p.TIME_LIMIT, [137])
    assert "6 seconds" in str(result.message)
    assert [f.path for f in result.found] == ["/data/made"]
    assert not (ws.files / "second").exists()


def test_a_background_process_does_not_outlive_its_command(node: Node) -> None:
    ws = node.workspace()
    script = (
        "(while :; do sleep 0.05; date >> /data/alive; done) &"
        " until test -s /data/alive; do sleep 0.05; done"
    )
    plan = node.plan(node.shell(script))
    assert ws.run(plan).status == p.FINISHED
    size = (ws.files / "alive").stat().st_size
    assert not _marked(plan.handle)
    assert (ws.files / "alive").stat().st_size == size


def _marked(handle: str) -> list[bytes]:
    """Processes of an attempt that still run on this machine."""
    environs = [_read(f) for f in Path("/proc").glob("[0-9]*/environ")]
    return [e for e in environs if f"TESP_HANDLE={handle}\0".encode() in e]


def test_memory_above_the_limit_ends_the_command_and_is_told(node: Node) -> None:
    result = node.workspace().run(
        node.plan(
            node.shell("dd if=/dev/zero of=/dev/null bs=100M count=1"),
            limits=Limits(memory_bytes=32_000_000),
        )
    )
    ended = result.executors[0]
    assert ended.out_of_memory
    assert ended.exit_code == 137
    assert (ended.peak_memory_bytes or 0) < 40_000_000


def test_a_second_runner_on_a_workspace_runs_nothing(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("echo x >> /data/ran; sleep 0.5")))
    runners = [ws.start() for _ in range(4)]
    assert [r.wait(60) for r in runners] == [0, 0, 0, 0]
    assert ws.start().wait(60) == 0
    assert (ws.files / "ran").read_text() == "x\n"
    assert ws.claim()["pid"] in [r.pid for r in runners]


def test_a_link_out_of_the_output_directory_is_refused(node: Node) -> None:
    plan = node.plan(
        node.shell(
            "ln -s /etc/hostname /data/link; ln -s ../../../etc/passwd /data/up; echo x > /data/own"
        ),
        outputs=[Output("/data/link"), Output("/data/own"), Output("/data")],
    )
    result = node.workspace().run(plan)
    assert (result.status, result.reason) == (p.FAILED, p.OUTPUT_REFUSED)
    assert "/data/link" in str(result.message)
    assert [f.path for f in result.found] == ["/data/own"]


def test_a_stdout_that_is_a_link_out_is_not_written_through(node: Node) -> None:
    ws = node.workspace()
    target = ws.path.parent / "victim"
    target.write_text("untouched")
    plan = node.plan(
        node.shell(f"ln -s {target} /data/out; ln -s / /data/dir"),
        node.executor("echo", "overwritten", stdout="/data/out"),
    )
    result = ws.run(plan)
    assert (result.status, result.reason) == (p.FAILED, p.RUNTIME_ERROR)
    assert "/data/out" in str(result.message)
    assert target.read_text() == "untouched"


def test_a_fifo_as_an_output_is_refused_and_not_opened(node: Node) -> None:
    plan = node.plan(node.shell("mkfifo /data/pipe"), outputs=[Output("/data/pipe")])
    result = node.workspace().run(plan)
    assert (result.status, result.reason) == (p.FAILED, p.OUTPUT_REFUSED)
    assert "named pipe" in str(result.message)


def test_a_fifo_as_stdout_does_not_hang_the_runner(node: Node) -> None:
    plan = node.plan(
        node.shell("mkfifo /data/pipe"), node.executor("echo", "x", stdout="/data/pipe")
    )
    assert node.workspace().run(plan).reason == p.RUNTIME_ERROR


@pytest.mark.parametrize("image", ["--privileged", "-v/:/host", "", "a b"])
def test_an_image_that_is_an_option_is_refused(node: Node, image: str) -> None:
    ws = node.workspace()
    result = ws.run(node.plan(node.shell("echo x > /data/ran", image=image)))
    assert (result.status, result.reason) == (p.FAILED, p.IMAGE_MISSING)
    assert "not an image reference" in str(result.message)
    assert not (ws.files / "ran").exists()


def test_a_runtime_that_is_not_there_is_told(node: Node) -> None:
    runtime = node.runtime._replace(program="no-such-runtime")
    result = node.workspace().run(node.plan(node.shell("true"), runtime=runtime))
    assert (result.status, result.reason) == (p.FAILED, p.RUNTIME_MISSING)
    assert "no-such-runtime" in str(result.message)


def test_a_plan_that_cannot_be_read_gives_a_result_that_says_so(node: Node) -> None:
    ws = node.workspace()
    (ws.path / p.PLAN_FILE).write_text('{"task": ')
    assert ws.start().wait(60) == 0
    assert (ws.result().status, ws.result().reason) == (p.FAILED, p.INTERNAL)


def test_the_heartbeat_goes_on_while_a_command_runs(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("sleep 60"), heartbeat_seconds=0.1))
    runner = ws.start()
    wait_for(lambda: _running(ws), "the executor")
    beat = ws.path / p.HEARTBEAT_FILE
    first = beat.stat().st_mtime_ns
    wait_for(lambda: beat.stat().st_mtime_ns > first, "another beat")
    ws.cancel()
    runner.wait(60)
