"""Several Pulsars under one server: where tasks go, and what happens when one of them fails."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.pulsar import PulsarServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.pulsar_fixtures import MakePulsar
from tests.peers.room import Room, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TERMINAL, Document

SHORT_LEASE = {"lease_seconds": 3.0}


def settings_of(name: str, pulsar: PulsarServer, **keys: Any) -> dict[str, Any]:
    limits = {"tasks": keys.pop("tasks", 8)}
    address = {"url": pulsar.url, "token": pulsar.token}
    return {"name": name, **address, "runtime": "sandbox", "limits": limits, **keys}


def shell(script: str, **fields: Any) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script], **fields}


def backend(task: Document) -> str:
    name: str = task["logs"][-1]["metadata"]["backend"]
    return name


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PulsarServer, PulsarServer]]:
    """Two Pulsars that nobody ends."""
    with ExitStack() as rooms:
        one, two = (
            PulsarServer.boot(rooms.enter_context(Room.temporary())) for _ in ("one", "two")
        )
        yield one, two


def test_tasks_go_where_they_belong(
    start_server: StartServer, pair: tuple[PulsarServer, PulsarServer]
) -> None:
    one, two = pair
    server = start_server(
        dispatch=SHORT_LEASE,
        local={"enabled": True},
        pulsars=[
            settings_of("brno", one, zones=["cz"], preemptible=False, limits={"cpus": 2}),
            settings_of("spot", two, zones=["eu"], preemptible="only"),
        ],
        routes=[{"tag": "project", "value": "secret", "pulsars": ["local"]}],
    )

    def ran_on(**task: Any) -> str:
        ended = server.run({"executors": [shell("true")], **task})
        assert ended["state"] == "COMPLETE", ended
        return backend(ended)

    assert ran_on(resources={"zones": ["cz"]}) == "brno"
    assert ran_on(resources={"preemptible": True}) == "spot"
    assert ran_on(resources={"backend_parameters": {"pulsar": "brno"}}) == "brno"
    assert ran_on(tags={"project": "secret"}) == "local@test-machine"
    refused = server.client.post(
        "/tasks",
        json={"executors": [shell("true")], "resources": {"zones": ["us", "mars"]}},
    )
    assert refused.status_code == 400
    assert "choose from cz, eu" in refused.text
    too_big = {"backend_parameters": {"pulsar": "brno"}, "cpu_cores": 3}
    refused = server.client.post(
        "/tasks", json={"executors": [shell("true")], "resources": too_big}
    )
    assert refused.status_code == 400
    info = server.client.get("/service-info").json()
    assert "pulsar" in info["tesResources_backend_parameters"]


def test_no_more_tasks_run_at_once_than_a_pulsar_may_have(
    start_server: StartServer, pair: tuple[PulsarServer, PulsarServer], gate: Gate
) -> None:
    server = start_server(pulsars=[settings_of("one", pair[0], tasks=2)])
    gate.hold("/ran")
    ids = [server.submit({"executors": [shell(gate.knock("/ran"))]}) for _ in range(5)]
    gate.wait_for("/ran", 2)
    states = [server.state(task_id) for task_id in ids]
    assert states.count("QUEUED") == 3
    gate.release("/ran")
    assert {server.wait(task_id)["state"] for task_id in ids} == {"COMPLETE"}
    assert gate.arrived("/ran") == 5


def test_tasks_wait_for_a_pulsar_that_is_not_there_yet(
    start_server: StartServer, make_pulsar: MakePulsar
) -> None:
    pulsar = make_pulsar()
    server = start_server(dispatch=SHORT_LEASE, pulsars=[settings_of("late", pulsar)])
    task_id = server.submit({"executors": [shell("echo there")]})
    wait_until(lambda: "late" in server.log.read_text(), "a word on the Pulsar in the log")
    assert server.state(task_id) == "QUEUED"
    pulsar.started()
    assert server.wait(task_id)["logs"][0]["logs"][0]["stdout"] == "there\n"


@pytest.mark.parametrize("phase", ["input", "ran", "output"])
def test_a_pulsar_that_is_killed_and_started_again_loses_nothing(
    start_server: StartServer, make_pulsar: MakePulsar, gate: Gate, phase: str
) -> None:
    pulsar = make_pulsar().started()
    server = start_server(dispatch=SHORT_LEASE, pulsars=[settings_of("one", pulsar)])
    gate.hold(f"/{phase}")
    task_id = server.submit(
        {
            "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
            "outputs": [{"path": "/o/x", "url": f"{gate.url}/output"}],
            "executors": [shell(f"{gate.knock('/ran')}; cat /in >/o/x; exit 0")],
        }
    )
    gate.wait_for(f"/{phase}")
    pulsar.kill()
    gate.release(f"/{phase}")
    pulsar.started()
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert gate.bodies["/output"] == b"open /input\n"
    assert gate.arrived("/ran") == 1
    wait_until(lambda: pulsar.jobs() == [], "the Pulsar is clean")


def test_a_job_that_ends_while_its_pulsar_is_away_has_its_true_exit_code(
    start_server: StartServer, make_pulsar: MakePulsar, gate: Gate
) -> None:
    pulsar = make_pulsar().started()
    server = start_server(dispatch=SHORT_LEASE, pulsars=[settings_of("one", pulsar)])
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; exit 7")]})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    pulsar.kill()
    gate.release("/ran")
    (workspace,) = pulsar.staging.glob("*/metadata/tesp")
    wait_until(lambda: (workspace / "result.json").exists(), "the runner's result")
    pulsar.started()
    task = server.wait(task_id)
    assert task["state"] == "EXECUTOR_ERROR", task
    assert task["logs"][0]["logs"][0]["exit_code"] == 7


def test_a_task_can_be_canceled_while_its_pulsar_is_away(
    start_server: StartServer, make_pulsar: MakePulsar, gate: Gate
) -> None:
    pulsar = make_pulsar().started()
    server = start_server(dispatch=SHORT_LEASE, pulsars=[settings_of("one", pulsar)])
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(f"{gate.knock('/ran')}; sleep 600")]})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    pulsar.kill()
    server.cancel(task_id)
    server.wait(task_id, "CANCELING")
    pulsar.started()
    assert server.wait(task_id)["state"] == "CANCELED"
    wait_until(lambda: pulsar.jobs() == [], "the Pulsar is clean")


def test_a_hundred_tasks_end_once_though_one_of_two_pulsars_is_killed_among_them(
    start_server: StartServer, make_pulsar: MakePulsar, gate: Gate
) -> None:
    one, two = make_pulsar().started(), make_pulsar().started()
    server = start_server(
        dispatch=SHORT_LEASE,
        pulsars=[settings_of("one", one), settings_of("two", two)],
    )
    ids = [
        server.submit(
            {
                "inputs": [{"path": "/in", "content": str(n)}],
                "outputs": [{"path": "/o/x", "url": f"{gate.url}/output-{n}"}],
                "executors": [shell(f"{gate.knock(f'/ran-{n}')}; cat /in >/o/x")],
            }
        )
        for n in range(100)
    ]
    wait_until(lambda: sum(server.state(i) in TERMINAL for i in ids[:30]) >= 10, "a first part")
    one.kill()
    wait_until(lambda: sum(server.state(i) in TERMINAL for i in ids) >= 50, "a second part")
    one.started()
    tasks = [server.wait(task_id) for task_id in ids]
    assert {task["state"] for task in tasks} == {"COMPLETE"}
    assert [gate.arrived(f"/ran-{n}") for n in range(100)] == [1] * 100
    assert [gate.bodies[f"/output-{n}"] for n in range(100)] == [b"%d" % n for n in range(100)]
    assert {backend(task) for task in tasks} == {"one", "two"}
    wait_until(lambda: one.jobs() == two.jobs() == [], "both Pulsars are clean")


def test_a_full_disk_on_a_pulsar_is_told(
    start_server: StartServer, make_pulsar: MakePulsar
) -> None:
    pulsar = make_pulsar()
    size = ["-o", "size=6m"]
    subprocess.run(["mount", "-t", "tmpfs", *size, "tmpfs", pulsar.staging], check=True)
    pulsar.started()
    server = start_server(dispatch=SHORT_LEASE, pulsars=[settings_of("small", pulsar)])
    (Path(server.directory).parent / "files/big").write_bytes(bytes(9_000_000))
    script = "head -c 9000000 /dev/zero >/o/big || { echo full >&2; exit 9; }"
    written = server.run({"volumes": ["/o"], "executors": [shell(script)]})
    assert written["state"] == "EXECUTOR_ERROR", written
    assert written["logs"][0]["logs"][0]["exit_code"] == 9
    url = f"file://{server.directory.parent}/files/big"
    brought = server.run({"inputs": [{"path": "/in", "url": url}], "executors": [shell("true")]})
    assert brought["state"] == "SYSTEM_ERROR", brought
    assert "small" in str(brought["logs"][0]["system_logs"])
    assert server.run({"executors": [shell("true")]})["state"] == "COMPLETE"
    wait_until(lambda: pulsar.jobs() == [], "the Pulsar is clean")


def test_containers_of_a_real_engine_have_their_limits_and_end_when_canceled(
    start_server: StartServer,
    pair: tuple[PulsarServer, PulsarServer],
    docker_engine: DockerEngine,
) -> None:
    docker = {"runtime": "docker", "docker_host": docker_engine.host, "network": "host"}
    server = start_server(pulsars=[settings_of("one", pair[0], **docker)])
    memory = "memory/memory.limit_in_bytes memory.max"
    processor = "cpu/cpu.cfs_quota_us cpu.max"
    script = f"cd /sys/fs/cgroup; cat {memory} {processor} 2>/dev/null; true"
    sh = {"image": docker_engine.image, "command": ["sh", "-c", script]}
    task = server.run({"executors": [sh], "resources": {"cpu_cores": 1, "ram_gb": 0.064}})
    assert task["state"] == "COMPLETE", task
    # The second version of the groups names the period too.
    assert task["logs"][0]["logs"][0]["stdout"].split()[:2] == ["64000000", "100000"]

    def containers(task_id: str) -> list[str]:
        return [name for name in docker_engine.containers() if task_id in name]

    sleeper = {"image": docker_engine.image, "command": ["sleep", "600"]}
    task_id = server.submit({"executors": [sleeper]})
    server.wait(task_id, "RUNNING")
    wait_until(lambda: containers(task_id), "the container")
    server.cancel(task_id)
    assert server.wait(task_id)["state"] == "CANCELED"
    assert containers(task_id) == []
    assert [job for job in pair[0].jobs() if job.startswith(task_id)] == []


@pytest.mark.parametrize("kind", ["rest", "amqp"])
def test_another_dispatcher_takes_a_pulsar_over_when_its_own_dies(
    kind: str,
    start_server: StartServer,
    pair: tuple[PulsarServer, PulsarServer],
    mongodb_uri: str,
    mongodb_database: str,
    gate: Gate,
    request: pytest.FixtureRequest,
) -> None:
    if kind == "rest":
        keys = settings_of("one", pair[0])
    else:
        pulsar: AmqpPulsarServer = request.getfixturevalue("amqp_pulsar")
        address = {"amqp_url": pulsar.broker.url, "manager": pulsar.manager}
        keys = {"name": "one", "runtime": "sandbox", **address}
    store = {"kind": "mongodb", "mongodb_uri": mongodb_uri, "database": mongodb_database}
    first, second = (
        start_server(store=store, dispatch=SHORT_LEASE, pulsars=[keys]) for _ in range(2)
    )
    gate.hold("/held")
    held = second.submit({"executors": [shell(f"{gate.knock('/held')}; exit 3")]})
    ids = [second.submit({"executors": [shell(gate.knock("/ran"))]}) for _ in range(10)]
    assert {second.wait(task_id)["state"] for task_id in ids} == {"COMPLETE"}
    gate.wait_for("/held")
    first.kill()
    later = [second.submit({"executors": [shell(gate.knock("/ran"))]}) for _ in range(10)]
    assert {second.wait(task_id)["state"] for task_id in later} == {"COMPLETE"}
    gate.release("/held")
    task = second.wait(held)
    assert (task["state"], task["logs"][0]["logs"][0]["exit_code"]) == ("EXECUTOR_ERROR", 3)
    assert (gate.arrived("/held"), gate.arrived("/ran")) == (1, 20)
