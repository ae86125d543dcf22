"""What a real Docker engine is asked for: limits, names, images, credentials, ownership."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tesp.runner import containers, identity, ownership
from tesp.runner import plan as p
from tesp.runner.commands import container_name
from tesp.runner.engine import Engine, environment
from tesp.runner.plan import Limits, Output
from tesp.runner.spots import open_regular
from tests.contract.runner.node import Node, Workspace, wait_for
from tests.peers.docker_engine import DockerEngine
from tests.peers.docker_registry import DockerRegistry

PROGRAM = shutil.which("setpriv") or "setpriv"
# One that every user may start: not always so for the tests' own.
PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or "python3"
# Goes on as soon as there is a file of that name.
ONCE = "i=0; until test -e {}; do i=$((i+1)); test $i -lt 1200 || exit 9; sleep 0.05; done"
LIMITS = """
for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us \
    memory.max memory.swap.max cpu.max; do
  [ -f /sys/fs/cgroup/$f ] && echo "$f $(cat /sys/fs/cgroup/$f)"
done
"""


def seen_limits(ws: Workspace) -> dict[str, str]:
    """File and value of each limit that the container saw of itself."""
    lines = ws.tail("0.stdout").decode().splitlines()
    return {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}


def test_the_limits_hold_inside_the_containers_own_group(docker: Node) -> None:
    ws = docker.workspace()
    limits = Limits(cpus=0.5, memory_bytes=40_960_000)
    result = ws.run(docker.plan(docker.shell(LIMITS), limits=limits))
    seen = seen_limits(ws)
    memory = seen.get("memory/memory.limit_in_bytes") or seen.get("memory.max")
    cpu = seen.get("cpu/cpu.cfs_quota_us") or seen.get("cpu.max", "").split()[0]
    assert (memory, cpu) == ("40960000", "50000")
    # Where the kernel keeps account of swap, there is none beyond the memory.
    assert seen.get("memory/memory.memsw.limit_in_bytes", "40960000") == "40960000"
    assert seen.get("memory.swap.max", "0") == "0"
    assert result.warnings == []


def test_what_somebody_else_removes_at_the_same_time_is_gone_too(
    docker: Node, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tesp.runner.engine.REMOVAL_SECONDS", 60.0)
    runtime = docker.plan(docker.shell("true")).runtime
    engine = Engine(runtime, shutil.which("docker") or "", environment(runtime))
    made = [
        docker_engine.cli("run", "--detach", "--network=none", docker.image, "sleep", "600")
        for _ in range(8)
    ]
    other = ["docker", "--host", docker_engine.host, "rm", "--force", *made]
    with subprocess.Popen(other, stdout=subprocess.DEVNULL):
        assert engine.remove(list(reversed(made)))
        there = docker_engine.cli("ps", "--all", "--quiet", "--no-trunc").split()
        assert not set(made).intersection(there)


def test_less_memory_than_an_engine_takes_is_raised_with_a_warning(docker: Node) -> None:
    result = docker.workspace().run(
        docker.plan(docker.shell("true"), limits=Limits(memory_bytes=1000))
    )
    assert result.status == p.FINISHED
    assert "6291456" in result.warnings[0]


def test_a_killed_process_of_a_command_that_went_well_is_told(
    docker: Node, docker_engine: DockerEngine
) -> None:
    ws = docker.workspace()
    killed = "dd if=/dev/zero of=/dev/null bs=100M count=1"
    script = f"{ONCE.format('ready')}; {killed}; {ONCE.format('go')}"
    command = docker.shell(script, workdir="/data")
    plan = docker.plan(command, limits=Limits(memory_bytes=32_000_000))
    ws.write(plan)
    with ws.start() as runner:
        # The engine hears of no process that is killed before that.
        docker_engine.await_event("start", f"tesp-{plan.handle}-0")
        (ws.files / "ready").touch()
        docker_engine.await_event("oom", f"tesp-{plan.handle}-0")
        (ws.files / "go").touch()
    assert runner.returncode == 0, ws.log()
    result = ws.result()
    ended = result.executors[0]
    assert (ended.exit_code, ended.out_of_memory) == (0, True)
    assert "executors[0] ended with exit code 0, though" in result.warnings[0]


@pytest.mark.parametrize("limits", [Limits(), Limits(memory_bytes=64_000_000)])
def test_the_engine_is_asked_three_things_for_a_command_that_goes_well(
    docker: Node, tmp_path: Path, limits: Limits
) -> None:
    asked, program = tmp_path / "asked", tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "$1" >> {asked}\nexec docker "$@"\n')
    program.chmod(0o755)
    docker.workspace().run(docker.plan(docker.shell("true")))  # the first one sweeps its host
    runtime = docker.runtime._replace(program=str(program))
    docker.workspace().run(docker.plan(docker.shell("true"), runtime=runtime, limits=limits))
    assert asked.read_text().split() == ["create", "start", "rm"]


def test_a_container_is_named_and_labelled_by_its_task(
    docker: Node, docker_engine: DockerEngine
) -> None:
    ws = docker.workspace()
    plan = docker.plan(docker.shell("echo go; sleep 100"))
    ws.write(plan)
    runner = ws.start()
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    shown = json.loads(docker_engine.cli("inspect", f"tesp-{plan.handle}-0"))[0]["Config"]["Labels"]
    ws.cancel()
    runner.wait(60)
    assert (shown["tesp.task"], shown["tesp.handle"]) == ("task-1", plan.handle)
    assert shown["tesp.owner"].startswith(f"{runner.pid}/")


def test_a_user_and_a_network_are_the_plans(docker: Node) -> None:
    ws = docker.workspace()
    runtime = docker.runtime._replace(user="1234:4321", network="host")
    ws.run(docker.plan(docker.shell("id -u; id -g; ls /sys/class/net"), runtime=runtime))
    seen = ws.tail("0.stdout").decode().split()
    assert seen[:2] == ["1234", "4321"]
    assert set(seen[2:]) == {f.name for f in Path("/sys/class/net").iterdir()}


def test_an_image_that_is_missing_is_pulled_with_the_plans_credentials(
    docker: Node, docker_engine: DockerEngine, docker_registry: DockerRegistry
) -> None:
    image = docker_registry.push(docker_engine, docker_engine.image, "private/pulled:1")
    account = {"username": docker_registry.username, "password": docker_registry.password}
    runtime = docker.runtime._replace(registries={docker_registry.host: account})
    ws = docker.workspace()
    result = ws.run(docker.plan(docker.shell("echo ran", image=image), runtime=runtime))
    assert (result.status, ws.tail("0.stdout")) == (p.FINISHED, b"ran\n")
    assert docker_registry.password not in ws.log() + json.dumps(result.to_json())
    left = [f for f in Path(docker.environ["TMPDIR"]).rglob("*") if "swept" not in f.name]
    assert [f for f in left if f.is_file()] == []
    docker_engine.cli("rmi", image)


@pytest.mark.parametrize("account", [None, {"username": "alice", "password": "wrong-password"}])
def test_an_image_without_the_right_credentials_is_refused(
    docker: Node,
    docker_engine: DockerEngine,
    docker_registry: DockerRegistry,
    account: dict[str, str] | None,
) -> None:
    image = docker_registry.push(docker_engine, docker_engine.image, "private/refused:1")
    registries = {docker_registry.host: account} if account else {}
    runtime = docker.runtime._replace(registries=registries)
    result = docker.workspace().run(docker.plan(docker.shell("true", image=image), runtime=runtime))
    assert (result.status, result.reason) == (p.FAILED, p.IMAGE_REFUSED), result.message
    assert image in str(result.message)
    assert "Set the registry's user name and password" in str(result.message)
    assert "wrong-password" not in str(result.message)


def test_an_image_that_is_nowhere_is_missing(docker: Node, docker_registry: DockerRegistry) -> None:
    account = {"username": docker_registry.username, "password": docker_registry.password}
    runtime = docker.runtime._replace(registries={docker_registry.host: account})
    image = f"{docker_registry.host}/no/such:1"
    result = docker.workspace().run(docker.plan(docker.shell("true", image=image), runtime=runtime))
    assert (result.status, result.reason) == (p.FAILED, p.IMAGE_MISSING), result.message
    assert "Check the image's name and tag" in str(result.message)


def test_a_registry_out_of_reach_is_told(docker: Node) -> None:
    result = docker.workspace().run(docker.plan(docker.shell("true", image="127.0.0.1:1/x:1")))
    assert (result.status, result.reason) == (p.FAILED, p.IMAGE_MISSING)
    assert "refused" in str(result.message)


def test_an_engine_that_does_not_run_is_a_missing_runtime(docker: Node) -> None:
    runtime = docker.runtime._replace(environment={"DOCKER_HOST": "unix:///nowhere.sock"})
    result = docker.workspace().run(docker.plan(docker.shell("true"), runtime=runtime))
    assert (result.status, result.reason) == (p.FAILED, p.RUNTIME_MISSING)
    assert "Start the container engine" in str(result.message)


def test_a_failure_to_mount_is_the_machines_and_not_the_commands(docker: Node) -> None:
    plan = docker.plan(docker.shell("true"))
    plan = plan._replace(mounts=[p.Mount("roots/0", "/bin/sh/below", True)])
    result = docker.workspace().run(plan)
    assert (result.status, result.reason) == (p.FAILED, p.RUNTIME_ERROR)
    assert "/bin/sh/below" in str(result.message)


class Unprivileged:
    """A server that runs as a user who may only talk to the engine."""

    uid = 54321

    def __init__(self, docker: Node, engine: DockerEngine, pyz: Path) -> None:
        self.node = docker
        socket = Path(engine.host.removeprefix("unix://"))
        group = f"--groups={socket.stat().st_gid}"
        self.prefix = [PROGRAM, f"--reuid={self.uid}", f"--regid={self.uid}", group]
        folder = Path(docker.environ["TMPDIR"])
        os.chown(folder, self.uid, self.uid)
        for file in (pyz, socket, folder):
            _open_the_way(file)

    def workspace(self) -> Workspace:
        """A workspace of that user."""
        ws = self.node.workspace()
        ws.python = PYTHON
        os.chown(ws.path, self.uid, self.uid)
        return ws

    def write(self, ws: Workspace, plan: p.Plan) -> None:
        """What the server makes is that user's."""
        ws.write(plan)
        for path in [*ws.path.rglob("*")]:
            os.chown(path, self.uid, self.uid)


def _open_the_way(file: Path) -> None:
    """Let every user pass through the tests' own directories."""
    base = Path(tempfile.gettempdir())
    for folder in [f for f in file.parents if base in f.parents]:
        folder.chmod(folder.stat().st_mode | 0o011)


def test_what_a_container_wrote_as_root_is_given_to_a_server_that_is_not_root(
    docker: Node, docker_engine: DockerEngine, pyz: Path
) -> None:
    server = Unprivileged(docker, docker_engine, pyz)
    ws = server.workspace()
    script = "umask 077; mkdir -p /data/deep/er; echo secret > /data/deep/er/file; ln -s / /data/l"
    plan = docker.plan(docker.shell(script), outputs=[Output("/data/deep")])
    server.write(ws, plan)
    assert ws.start(server.prefix).wait(60) == 0
    result = ws.result()
    assert [f.name for f in result.found] == ["er/file"], result
    with open_regular(str(ws.path), result.found[0].file) as file:
        assert file.read() == b"secret\n"
    assert {f.lstat().st_uid for f in ws.files.rglob("*")} == {Unprivileged.uid}
    assert Path("/").stat().st_uid == 0
    assert docker_engine.cli("ps", "-aq", "--filter", f"label=tesp.handle={plan.handle}") == ""


def test_remove_makes_what_root_wrote_removable(
    docker: Node, docker_engine: DockerEngine, pyz: Path
) -> None:
    server = Unprivileged(docker, docker_engine, pyz)
    ws = server.workspace()
    plan = docker.plan(
        docker.shell("umask 077; mkdir /data/d; echo > /data/d/f; echo go; sleep 99")
    )
    server.write(ws, plan)
    runner = ws.start(server.prefix)
    wait_for(lambda: ws.tail("0.stdout"), "the command")
    runner.kill()
    runner.wait()
    ws.remove(server.prefix)
    assert {f.lstat().st_uid for f in ws.files.rglob("*")} == {Unprivileged.uid}


@pytest.mark.parametrize("lives", [True, False])
def test_whoever_removes_what_was_left_lets_those_finish_who_give_its_files_to_the_server(
    docker: Node, docker_engine: DockerEngine, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    """A killed runner's watchdog comes again and again; what a dead one began is left, too."""
    ws = docker.workspace()
    plan = docker.plan(docker.shell("true"))
    ws.write(plan)
    monkeypatch.chdir(ws.path)
    name, here = container_name(plan.handle, 1), identity.current()
    argv = ownership.command(plan, docker.image, name, shutil.which("chown") or "chown")
    owner = here if lives else here._replace(start=here.start - 1)
    docker_engine.cli("create", *(a.replace(here.label(), owner.label()) for a in argv[1:]))
    engine = Engine(plan.runtime, shutil.which("docker") or "", environment(plan.runtime))
    assert containers.remove(plan, engine)
    assert (name in docker_engine.containers()) == lives
    docker_engine.cli("rm", name, check=lives)
