"""Tasks in containers of a real Docker engine."""

from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.docker_registry import DockerRegistry, OpenRegistry
from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer


@pytest.fixture
def server(start_server: StartServer, docker_settings: dict[str, Any]) -> TespServer:
    return start_server(**docker_settings, dispatch={"lease_seconds": 2.0})


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(autouse=True)
def nothing_is_left_behind(docker_engine: DockerEngine, server: TespServer) -> Any:
    """After each test no container of its tasks is there; others' are, at any time."""
    yield
    made = server.client.get("/tasks", params={"page_size": 256}).json()["tasks"]

    def left() -> list[str]:
        return [c for c in docker_engine.containers() if any(t["id"] in c for t in made)]

    wait_until(lambda: not left(), f"containers of ours are gone, of {left()}")


def shell(engine: DockerEngine, script: str, **fields: Any) -> Document:
    return {"image": engine.image, "command": ["sh", "-c", script], **fields}


def first_log(task: Document) -> Document:
    log: Document = task["logs"][-1]["logs"][0]
    return log


def test_a_container_runs_with_inputs_outputs_and_streams(
    server: TespServer, docker_engine: DockerEngine, files: Path
) -> None:
    task = server.run(
        {
            "inputs": [{"path": "/in/a", "content": "hello"}],
            "outputs": [{"path": "/o/up", "url": f"file://{files}/up"}],
            "executors": [
                shell(docker_engine, "tr a-z A-Z </in/a >/o/up; echo out; echo err >&2"),
                shell(docker_engine, "cat /o/up", stdin="/o/up"),
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "up").read_text() == "HELLO"
    assert (first_log(task)["stdout"], first_log(task)["stderr"]) == ("out\n", "err\n")
    assert task["logs"][0]["logs"][1]["stdout"] == "HELLO"
    assert server.leftovers() == []


def test_limits_are_those_of_the_container_s_cgroup(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    script = (
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null;"
        "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true"
    )
    task = server.run(
        {
            "executors": [shell(docker_engine, script)],
            "resources": {"cpu_cores": 1, "ram_gb": 0.064},
        }
    )
    assert task["state"] == "COMPLETE", task
    memory, quota = first_log(task)["stdout"].split("\n")[:2]
    assert int(memory) == 64_000_000 // 4096 * 4096
    assert quota.split()[0] == "100000"


def test_a_command_that_takes_too_much_memory_is_told_so(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    task = server.run(
        {
            "executors": [shell(docker_engine, "x=a; while :; do x=$x$x; done")],
            "resources": {"ram_gb": 0.032},
        }
    )
    assert task["state"] == "EXECUTOR_ERROR", task
    assert any("out of memory" in line for line in task["logs"][0]["system_logs"])


def test_peak_memory_and_processor_time_are_measured(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    script = "head -c 20000000 /dev/zero | tail -c 20000000 | md5sum"
    task = server.run({"executors": [shell(docker_engine, script)]})
    assert task["state"] == "COMPLETE", task
    metadata = task["logs"][0]["metadata"]
    assert int(metadata["executor.0.peak_memory_bytes"]) > 10_000_000
    assert float(metadata["executor.0.cpu_seconds"]) > 0


def test_cancel_removes_the_container_before_it_says_canceled(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    task_id = server.submit({"executors": [shell(docker_engine, "trap '' TERM; sleep 600")]})
    server.wait(task_id, "RUNNING")
    wait_until(lambda: any(task_id in n for n in docker_engine.containers()), "its container")
    server.cancel(task_id)
    task = server.wait(task_id)
    assert task["state"] == "CANCELED", task
    assert not any(task_id in name for name in docker_engine.containers())


def test_a_container_outlives_a_crash_of_the_server(
    server: TespServer, docker_engine: DockerEngine, gate: Gate
) -> None:
    gate.hold("/ran")
    script = f"wget -q -O- {gate.url}/ran; echo through"
    task_id = server.submit({"executors": [shell(docker_engine, script)]})
    gate.wait_for("/ran")
    server.kill()
    server.start()
    gate.release("/ran")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert first_log(task)["stdout"] == "open /ran\nthrough\n"
    assert gate.arrived("/ran") == 1


def test_an_image_is_pulled_where_it_is_missing(
    server: TespServer, docker_engine: DockerEngine, open_registry: OpenRegistry
) -> None:
    reference = open_registry.push(docker_engine, docker_engine.image, "pulled:1")
    task = server.run({"executors": [{"image": reference, "command": ["echo", "pulled"]}]})
    assert task["state"] == "COMPLETE", task
    assert first_log(task)["stdout"] == "pulled\n"


def test_a_crash_while_an_image_is_pulled_goes_on_with_the_pull(
    server: TespServer, gate: Gate
) -> None:
    gate.hold("/v2/")
    image = f"127.0.0.1:{gate.port}/slow:1"
    task_id = server.submit({"executors": [{"image": image, "command": ["true"]}]})
    gate.wait_for("/v2/")
    server.kill()
    server.start()
    assert server.state(task_id) == "INITIALIZING"
    gate.release("/v2/")
    task = server.wait(task_id)
    assert task["state"] == "SYSTEM_ERROR", task
    assert any(image in line for line in task["logs"][0]["system_logs"])
    assert len(task["logs"]) == 1


def test_a_private_registry_takes_the_password_of_the_settings(
    start_server: StartServer,
    docker_settings: dict[str, Any],
    docker_engine: DockerEngine,
    docker_registry: DockerRegistry,
) -> None:
    reference = docker_registry.push(docker_engine, docker_engine.image, "private:1")
    access = {
        "host": docker_registry.host,
        "username": docker_registry.username,
        "password": docker_registry.password,
    }
    containers = {**docker_settings["containers"], "registries": [access]}
    server = start_server(local=docker_settings["local"], containers=containers)
    task = server.run({"executors": [{"image": reference, "command": ["echo", "private"]}]})
    assert task["state"] == "COMPLETE", task
    assert docker_registry.password not in str(task)
    assert docker_registry.password not in server.log.read_text()


def test_a_registry_that_wants_credentials_says_what_to_set(
    server: TespServer, docker_engine: DockerEngine, docker_registry: DockerRegistry
) -> None:
    reference = docker_registry.push(docker_engine, docker_engine.image, "closed:1")
    task = server.run({"executors": [{"image": reference, "command": ["true"]}]})
    assert task["state"] == "SYSTEM_ERROR", task
    assert any("containers.registries" in line for line in task["logs"][0]["system_logs"])


def test_an_image_that_does_not_exist_is_named(
    server: TespServer, open_registry: OpenRegistry
) -> None:
    reference = f"{open_registry.host}/nothing:here"
    task = server.run({"executors": [{"image": reference, "command": ["true"]}]})
    assert task["state"] == "SYSTEM_ERROR", task
    assert any(reference in line for line in task["logs"][0]["system_logs"])


def test_a_program_that_is_not_in_the_image_is_an_executor_error(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    image = docker_engine.image
    task = server.run({"executors": [{"image": image, "command": ["no-such-program"]}]})
    assert task["state"] == "EXECUTOR_ERROR", task
    assert first_log(task)["exit_code"] == 127


def test_the_exact_argv_reaches_the_program_whatever_the_image_s_entry_point(
    server: TespServer, docker_engine: DockerEngine
) -> None:
    argv = ["printf", "[%s]", "", "a b", "$HOME", "'", '"', "\n", "--rm", "-v"]
    task = server.run({"executors": [{"image": docker_engine.image, "command": argv}]})
    assert task["state"] == "COMPLETE", task
    assert first_log(task)["stdout"] == "".join(f"[{a}]" for a in argv[2:])


def test_files_that_the_container_leaves_as_root_are_sent_and_removed(
    server: TespServer, docker_engine: DockerEngine, files: Path
) -> None:
    script = "mkdir -p /o/d && echo mine >/o/d/f && chmod 700 /o/d && chmod 400 /o/d/f"
    task = server.run(
        {
            "outputs": [{"path": "/o", "url": f"file://{files}/o", "type": "DIRECTORY"}],
            "executors": [shell(docker_engine, script)],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "o/d/f").read_text() == "mine\n"
    assert server.leftovers() == []
