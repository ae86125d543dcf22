"""What is left when a runner dies, or ends: nothing."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.runner import identity, orphans
from tesp.runner import plan as p
from tesp.runner.plan import Limits, Plan
from tests.contract.runner.node import Node, Workspace, wait_for
from tests.peers.docker_engine import DockerEngine

BUSY = "echo go; while :; do sleep 0.1; done"


def start(ws: Workspace, plan: Plan) -> subprocess.Popen[bytes]:
    """Start a runner, and wait until its command runs."""
    ws.write(plan)
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    return runner


def left(engine: DockerEngine, plan: Plan) -> str:
    """The containers of an attempt."""
    return engine.cli("ps", "-aq", "--filter", f"label=tesp.handle={plan.handle}")


def marked(handle: str) -> list[int]:
    """The processes of an attempt."""
    found = identity.processes_with(identity.HANDLE_VARIABLE)
    return [one.pid for one in found if one.value == handle]


def groups(plan: Plan) -> list[Path]:
    """The control groups of an attempt."""
    name = "tesp." + "".join(c if c.isalnum() else "_" for c in plan.handle)
    return list(Path("/sys/fs/cgroup").glob(f"*/{name}.*"))


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Processes that a test has stopped, to end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def swept(docker: Node) -> Node:
    """The node when its first runner has swept its host: later ones have but a watchdog."""
    docker.workspace().run(docker.plan(docker.shell("true")))
    return docker


def stop_watchdog(runner: int, ws: Workspace, stopped: list[int]) -> None:
    """Stop who looks after a runner. A sweeper must go on: it may be in the middle of what
    another test waits for."""
    (watchdog,) = watchdogs(runner, str(ws.path))
    os.kill(watchdog, signal.SIGSTOP)
    stopped.append(watchdog)


@pytest.mark.parametrize("script", ["true", "exit 3", "sleep 100"])
def test_no_container_and_no_group_is_left_when_a_runner_ends(
    docker: Node, docker_engine: DockerEngine, script: str
) -> None:
    plan = docker.plan(docker.shell(script), limits=Limits(time_seconds=1.0))
    docker.workspace().run(plan)
    assert left(docker_engine, plan) == ""
    assert groups(plan) == []


def test_a_container_keeps_its_name_until_the_result_is_durable(
    docker: Node, docker_engine: DockerEngine
) -> None:
    plan = docker.plan(docker.shell("true"), docker.shell(BUSY))
    ws = docker.workspace()
    ws.write(plan)
    runner = ws.start()
    wait_for(lambda: ws.tail("1.stdout"), "the second command")
    assert len(left(docker_engine, plan).split()) == 2
    ws.cancel()
    runner.wait(60)
    assert left(docker_engine, plan) == ""


def test_a_cancel_leaves_no_container(docker: Node, docker_engine: DockerEngine) -> None:
    plan = docker.plan(docker.shell(BUSY))
    ws = docker.workspace()
    runner = start(ws, plan)
    runner.terminate()
    runner.wait(60)
    assert ws.result().status == p.CANCELED
    assert left(docker_engine, plan) == ""


def test_the_container_of_a_killed_runner_is_removed_without_a_result(
    docker: Node, docker_engine: DockerEngine
) -> None:
    plan = docker.plan(docker.shell(BUSY))
    ws = docker.workspace()
    runner = start(ws, plan)
    runner.kill()
    runner.wait()
    wait_for(lambda: not left(docker_engine, plan) and not groups(plan), "the end of all")
    assert not ws.has_result()


def test_the_container_is_removed_when_all_descendants_are_killed_too(
    docker: Node, docker_engine: DockerEngine
) -> None:
    plan = docker.plan(docker.shell(BUSY))
    ws = docker.workspace()
    runner = start(ws, plan)
    for pid in [runner.pid, *descendants(runner.pid)]:
        os.kill(pid, signal.SIGKILL)
    runner.wait()
    wait_for(lambda: not left(docker_engine, plan), "the end of the container")
    assert not ws.has_result()


@pytest.mark.parametrize("limits", [Limits(), Limits(memory_bytes=50_000_000)])
def test_the_sandbox_of_a_killed_runner_dies_with_it(sandbox: Node, limits: Limits) -> None:
    plan = sandbox.plan(sandbox.shell(BUSY), limits=limits)
    ws = sandbox.workspace()
    runner = start(ws, plan)
    assert marked(plan.handle)
    assert bool(groups(plan)) == orphans.needs_watchdog(plan) == bool(limits.memory_bytes)
    runner.kill()
    runner.wait()
    wait_for(lambda: not marked(plan.handle) and not groups(plan), "the end of all")
    assert not ws.has_result()


def test_a_runner_outlives_the_server_that_started_it(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("echo go; sleep 1; echo x > /data/made")))
    server = subprocess.Popen(
        ["sh", "-c", '"$@" & wait', "sh", *ws.command("run")],
        cwd="/",
        env=node.environ,
        start_new_session=True,
    )
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    wait_for(ws.has_result, "the result")
    assert ws.result().status == p.FINISHED
    assert (ws.files / "made").exists()


def test_remove_ends_what_a_runner_left_and_may_be_called_again(
    swept: Node, docker_engine: DockerEngine, stopped: list[int]
) -> None:
    plan = swept.plan(swept.shell(BUSY))
    ws = swept.workspace()
    runner = start(ws, plan)
    stop_watchdog(runner.pid, ws, stopped)
    assert left(docker_engine, plan)
    runner.kill()
    runner.wait()
    ws.remove()
    assert left(docker_engine, plan) == ""
    assert groups(plan) == []
    ws.remove()


def test_remove_ends_a_runner_that_still_lives(node: Node) -> None:
    ws = node.workspace()
    plan = node.plan(node.shell(BUSY))
    runner = start(ws, plan)
    ws.remove()
    assert runner.wait(60) == 0
    assert ws.result().status == p.CANCELED
    assert marked(plan.handle) == []


def test_remove_without_a_start_does_nothing(node: Node) -> None:
    ws = node.workspace()
    ws.write(node.plan(node.shell("true")))
    ws.remove()
    assert not ws.has_result()


def test_a_sweep_removes_what_dead_runners_left_and_nothing_else(
    swept: Node, docker_engine: DockerEngine, stopped: list[int]
) -> None:
    dead, alive = swept.plan(swept.shell(BUSY)), swept.plan(swept.shell(BUSY))
    ws, other = swept.workspace(), swept.workspace()
    runner, living = start(ws, dead), start(other, alive)
    stop_watchdog(runner.pid, ws, stopped)
    runner.kill()
    runner.wait()
    foreign = docker_engine.cli(
        "create",
        "--network=none",
        "--label=tesp.handle=elsewhere",
        "--label=tesp.owner=1/1/another-boot/1/another-host",
        swept.image,
        "true",
    )
    other.sweep()
    assert left(docker_engine, dead) == ""
    # The sweep of another test may have removed the container, and is about to remove these.
    wait_for(lambda: not groups(dead), "the end of its groups")
    assert left(docker_engine, alive)
    assert docker_engine.cli("ps", "-aq", "--no-trunc", "--filter", f"id={foreign}") == foreign
    docker_engine.cli("rm", foreign)
    living.terminate()
    living.wait(60)


def test_the_start_of_a_runner_sweeps_its_host(docker: Node, docker_engine: DockerEngine) -> None:
    here = identity.current()
    dead = here._replace(pid=here.pid, start=here.start - 1)
    orphan = docker_engine.cli(
        "create",
        "--network=none",
        "--label=tesp.handle=orphan",
        f"--label=tesp.owner={dead.label()}",
        docker.image,
        "true",
    )
    docker.workspace().run(docker.plan(docker.shell("true")))
    wait_for(
        lambda: not docker_engine.cli("ps", "-aq", "--no-trunc", "--filter", f"id={orphan}"),
        "the sweep",
    )


def watchdogs(pid: int, workspace: str) -> list[int]:
    """The processes that look after a runner: they have its command line, and are not it."""
    found = [pid for pid in pids() if workspace in read(pid, "cmdline").split("\0")]
    return [one for one in found if one != pid]


def pids() -> list[int]:
    """Every process of this machine."""
    return [int(d.name) for d in Path("/proc").iterdir() if d.name.isdigit()]


def read(pid: int, name: str) -> str:
    """What the kernel tells of a process; nothing where it has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def descendants(pid: int) -> list[int]:
    """Children, their children and so on, as a batch system looks for them."""
    parents = {one: read(one, "stat").rpartition(")")[2].split() for one in pids()}
    children = [one for one, fields in parents.items() if fields[1:2] == [str(pid)]]
    return children + [below for child in children for below in descendants(child)]


def blocks(pid: int) -> bool:
    """Whether a watchdog has closed what it does not need, and sleeps."""
    files = list(Path(f"/proc/{pid}/fd").iterdir())
    return len(files) == 4 and read(pid, "stat").rpartition(")")[2].split()[0] == "S"


def switches(pid: int) -> str:
    """How often a process has given up the processor."""
    return read(pid, "status").partition("\nvoluntary_ctxt_switches:")[2].split()[0]


def test_a_watchdog_costs_no_time_while_a_command_runs(sandbox: Node) -> None:
    ws = sandbox.workspace()
    runner = start(ws, sandbox.plan(sandbox.shell(BUSY), limits=Limits(cpus=1)))
    (watchdog,) = watchdogs(runner.pid, str(ws.path))
    wait_for(lambda: blocks(watchdog), "the watchdog")
    before = switches(watchdog)
    seen = ws.claim()["time"]
    wait_for(lambda: time.time() > seen + 1, "a second")
    assert switches(watchdog) == before
    ws.cancel()
    runner.wait(60)
    wait_for(lambda: not read(watchdog, "cmdline"), "the watchdog's end")
