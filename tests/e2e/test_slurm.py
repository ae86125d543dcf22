"""Pulsars whose managers are partitions of a Slurm: a task there is a job in a queue.

Executions are counted by the gate that each command passes: a second run would show.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tesp.backends import Backend, Ended, Job
from tesp.backends.pulsar import RestPulsar
from tesp.backends.pulsar.amqp_backend import AmqpPulsar
from tesp.runner.plan import FINISHED, Executor, Plan, Runtime
from tesp.settings import PulsarSettings
from tesp.tes.needs import Needs
from tests.peers.gate import Gate
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, wait_until
from tests.peers.sites import Site, pulsar_site
from tests.peers.slurm import AmqpSlurmPulsar, SlurmCluster, SlurmJobs, SlurmPulsar
from tests.peers.tesp_server import Document, TespServer

SMALL = {"cpu_cores": 1, "ram_gb": 0.5}
BIG = {"cpu_cores": 2, "ram_gb": 1.5}
Pulsar = SlurmPulsar | AmqpSlurmPulsar
EVERY_WAY = pytest.mark.parametrize(
    "pulsar", ["rest", "amqp", "hybrid"], indirect=True, scope="module"
)
# What is no other over AMQP, or is shown of it elsewhere.
REST_ALONE = pytest.mark.parametrize("pulsar", ["rest"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def slurm() -> Iterator[SlurmCluster]:
    with Room.temporary() as room:
        yield SlurmCluster.boot(room)


@pytest.fixture(scope="module", params=["rest", "amqp"])
def pulsar(request: pytest.FixtureRequest, slurm: SlurmCluster) -> Iterator[Pulsar]:
    with Room.temporary() as room:
        if request.param == "rest":
            yield SlurmPulsar.before(slurm, room)
        else:
            broker: RabbitmqServer = request.getfixturevalue("rabbitmq")
            hybrid = request.param == "hybrid"
            yield AmqpSlurmPulsar.before(slurm, room, broker, hybrid=hybrid)


@pytest.fixture(scope="module")
def jobs(pulsar: Pulsar) -> SlurmJobs:
    return SlurmJobs(pulsar)


@pytest.fixture(scope="module")
def site(pulsar: Pulsar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("slurm")
    with pulsar_site("slurm", directory, pulsar, **pulsar.keys).ended() as site:
        yield site


@pytest.fixture(scope="module")
def server(site: Site) -> TespServer:
    return site.start()


@pytest.fixture(autouse=True)
def nothing_is_left(site: Site, slurm: SlurmCluster) -> Iterator[None]:
    """After each test no job is in Slurm, no process on its node, no directory on the Pulsar."""
    yield
    slurm.wait_until_idle()
    site.wait_until_clean()


def shell(script: str, **fields: Any) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script], **fields}


def job_of(slurm: SlurmCluster, task_id: str, state: str) -> str:
    """Wait until the job of a task is in that state; its name in Slurm."""

    def names() -> list[str]:
        prefix = f"pulsar_{task_id}-"
        return [n for n, s in slurm.queue().items() if n.startswith(prefix) and s == state]

    wait_until(names, f"the job of {task_id} is {state}")
    return names()[0]


def queued_job(slurm: SlurmCluster, jobs: SlurmJobs, task_id: str) -> str:
    """Wait until the job of a task waits in the queue, as Pulsar knows; its name in Slurm."""
    name = job_of(slurm, task_id, "PENDING")
    wait_until(lambda: jobs.holds(name), f"Pulsar holds {name}")
    return name


def exit_codes(task: Document) -> list[int]:
    return [executor["exit_code"] for executor in task["logs"][-1]["logs"]]


@REST_ALONE
def test_a_task_gets_the_processors_and_the_memory_of_its_size_class(
    server: TespServer, slurm: SlurmCluster, jobs: SlurmJobs, gate: Gate
) -> None:
    tasks = {}
    for manager, resources in (("small", SMALL), ("big", BIG)):
        gate.hold(f"/{manager}")
        asked = {"executors": [shell(gate.knock(f"/{manager}"))], "resources": resources}
        tasks[manager] = server.submit(asked)
    seen = {}
    for manager, task_id in tasks.items():
        gate.wait_for(f"/{manager}")
        name = job_of(slurm, task_id, "RUNNING")
        facts = slurm.facts(name)
        inside = jobs.seen_inside(name, "galaxy_slots", "galaxy_memory_mb")
        told = [facts[key] for key in ("Partition", "NumCPUs", "MinMemoryNode", "Requeue")]
        seen[manager] = [*told, *inside]
        gate.release(f"/{manager}")
    assert [server.wait(t)["state"] for t in tasks.values()] == ["COMPLETE", "COMPLETE"]
    assert seen == {
        "small": ["small", "1", "512M", "1", "1", "512"],
        "big": ["big", "3", "2G", "0", "3", "2048"],
    }


def test_a_task_initializes_in_the_queue_and_runs_with_its_executor(
    server: TespServer, slurm: SlurmCluster, gate: Gate
) -> None:
    gate.hold("/ran")
    with slurm.occupied():
        task_id = server.submit({"executors": [shell(gate.knock("/ran"))], "resources": SMALL})
        job_of(slurm, task_id, "PENDING")
        assert server.state(task_id) == "INITIALIZING"
        assert server.get(task_id)["logs"][-1]["logs"] == []
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    gate.release("/ran")
    assert server.wait(task_id)["state"] == "COMPLETE"


def test_a_task_is_canceled_in_the_queue(
    server: TespServer, site: Site, slurm: SlurmCluster, jobs: SlurmJobs, gate: Gate
) -> None:
    with slurm.occupied():
        task_id = server.submit({"executors": [shell(gate.knock("/ran"))], "resources": SMALL})
        queued_job(slurm, jobs, task_id)
        server.cancel(task_id)
        assert server.wait(task_id)["state"] == "CANCELED"
        wait_until(lambda: list(slurm.queue()) == ["others"], "it left the queue")
        site.wait_until_clean()
    assert gate.arrived("/ran") == 0


@EVERY_WAY
def test_a_task_is_canceled_on_its_way_into_the_queue(
    server: TespServer, slurm: SlurmCluster, jobs: SlurmJobs, gate: Gate
) -> None:
    with slurm.occupied():
        with slurm.out_of_reach():
            task_id = server.submit({"executors": [shell(gate.knock("/ran"))], "resources": SMALL})
            wait_until(jobs.one_is_starting, "sbatch waits")
            server.cancel(task_id)
            server.wait(task_id, "CANCELING")
        assert server.wait(task_id)["state"] == "CANCELED"
        wait_until(lambda: list(slurm.queue()) == ["others"], "it left the queue")
    assert gate.arrived("/ran") == 0


@REST_ALONE
def test_a_canceled_task_has_ended_on_its_node(
    server: TespServer, slurm: SlurmCluster, gate: Gate
) -> None:
    gate.hold("/ran")
    script = f"trap '' TERM; {gate.knock('/ran')}; while :; do sleep 0.1; done"
    task_id = server.submit({"executors": [shell(script)], "resources": SMALL})
    gate.wait_for("/ran")
    server.wait(task_id, "RUNNING")
    gate.release("/ran")
    server.cancel(task_id)
    assert server.wait(task_id)["state"] == "CANCELED"
    assert not [line for line in slurm.processes() if "trap" in line]


def test_what_is_killed_with_its_node_or_put_back_into_the_queue_runs_again_only_where_asked_for(
    server: TespServer, slurm: SlurmCluster, gate: Gate
) -> None:
    retries = {"/killed": "0", "/requeued": "0", "/retried": "1"}
    ids = {}
    for path, max_retries in retries.items():
        gate.hold(path)
        resources = {**SMALL, "backend_parameters": {"max_retries": max_retries}}
        ids[path] = server.submit({"executors": [shell(gate.knock(path))], "resources": resources})
        gate.wait_for(path)
    server.wait(ids["/requeued"], "RUNNING")
    slurm.requeue(job_of(slurm, ids["/requeued"], "RUNNING"))
    for path in ("/killed", "/retried"):
        slurm.kill(job_of(slurm, ids[path], "RUNNING"))
    gate.wait_for("/retried", 2)
    gate.release("/retried")
    tasks = {path: server.wait(task_id) for path, task_id in ids.items()}
    states = {path: task["state"] for path, task in tasks.items()}
    assert states == {
        "/killed": "SYSTEM_ERROR",
        "/requeued": "SYSTEM_ERROR",
        "/retried": "COMPLETE",
    }
    for path in ("/killed", "/retried"):
        said = tasks[path]["logs"][0]["system_logs"]
        # The runner may have had time to say so, or not.
        assert any("without a result" in line or "from outside" in line for line in said), said
    assert [len(task["logs"]) for task in tasks.values()] == [1, 1, 2]
    assert [gate.arrived(path) for path in retries] == [1, 1, 2]


@REST_ALONE
def test_a_job_that_an_operator_ends_is_a_system_error_that_says_so(
    server: TespServer, slurm: SlurmCluster, gate: Gate
) -> None:
    gate.hold("/ran")
    # It cannot end well, whichever of its processes is signaled first.
    command = shell(f"{gate.knock('/ran')}; sleep 600")
    task_id = server.submit({"executors": [command], "resources": SMALL})
    gate.wait_for("/ran")
    slurm.end(job_of(slurm, task_id, "RUNNING"))
    task = server.wait(task_id)
    assert task["state"] == "SYSTEM_ERROR", task
    assert any("from outside" in line for line in task["logs"][0]["system_logs"]), task
    assert gate.arrived("/ran") == 1


@REST_ALONE
def test_a_node_fetches_and_sends_when_its_job_starts_however_long_it_waited(
    site: Site, pulsar: Pulsar, slurm: SlurmCluster, gate: Gate
) -> None:
    server = site.start(
        pulsars=[{"name": "p", "runtime": "sandbox", "staging": "node", **pulsar.keys}]
    )
    with slurm.occupied():
        task_id = server.submit(
            {
                "inputs": [{"path": "/in", "url": f"{gate.url}/input"}],
                "outputs": [{"path": "/o/x", "url": f"file://{site.files}/sent"}],
                "executors": [shell("tr a-z A-Z </in >/o/x")],
                "resources": SMALL,
            }
        )
        job_of(slurm, task_id, "PENDING")
        looked_at = gate.arrived("/input")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert gate.arrived("/input") == looked_at + 1
    assert (site.files / "sent").read_text() == "OPEN /INPUT\n"
    server.stop()


@pytest.mark.parametrize("ends_meanwhile", [True, False])
def test_a_job_goes_on_while_pulsar_is_dead_and_is_told_of_when_it_is_back(
    server: TespServer,
    slurm: SlurmCluster,
    pulsar: Pulsar,
    gate: Gate,
    ends_meanwhile: bool,
) -> None:
    gate.hold("/ran")
    failing = shell(f"{gate.knock('/ran')}; exit 5", ignore_error=True)
    task_id = server.submit({"executors": [failing, shell("echo on")], "resources": SMALL})
    gate.wait_for("/ran")
    name = job_of(slurm, task_id, "RUNNING")
    pulsar.kill()
    if ends_meanwhile:
        gate.release("/ran")
        wait_until(lambda: name not in slurm.queue(), "the job has ended")
    pulsar.started()
    gate.release("/ran")
    task = server.wait(task_id)
    assert task["state"] == "COMPLETE", task
    assert exit_codes(task) == [5, 0]
    assert gate.arrived("/ran") == 1


def test_a_running_task_outlives_an_outage_of_slurm_that_pulsar_takes_for_its_end(
    server: TespServer, slurm: SlurmCluster, jobs: SlurmJobs, gate: Gate
) -> None:
    gate.hold("/ran")
    task_id = server.submit({"executors": [shell(gate.knock("/ran"))], "resources": SMALL})
    gate.wait_for("/ran")
    name = job_of(slurm, task_id, "RUNNING")
    server.wait(task_id, "RUNNING")
    with slurm.out_of_reach():
        wait_until(lambda: jobs.gave_up(name), "Pulsar has given the job up")
    gate.release("/ran")
    assert server.wait(task_id)["state"] == "COMPLETE"
    assert gate.arrived("/ran") == 1


def test_a_queued_task_runs_once_after_an_outage_of_slurm_that_pulsar_takes_for_its_end(
    server: TespServer, slurm: SlurmCluster, jobs: SlurmJobs, gate: Gate
) -> None:
    retried = {**SMALL, "backend_parameters": {"max_retries": "1"}}
    with slurm.occupied():
        task_id = server.submit({"executors": [shell(gate.knock("/ran"))], "resources": retried})
        name = queued_job(slurm, jobs, task_id)
        with slurm.out_of_reach():
            wait_until(lambda: jobs.gave_up(name), "Pulsar has given the job up")
    assert server.wait(task_id)["state"] == "COMPLETE"
    assert gate.arrived("/ran") == 1


async def test_a_job_that_slurm_suspends_is_waited_for_however_silent_it_is(
    pulsar: Pulsar, slurm: SlurmCluster, gate: Gate
) -> None:
    # Pulsar goes on saying that it runs until it has asked Slurm again, seconds later.
    sandbox, silence_seconds = Runtime("sandbox", "bwrap"), 6.0
    settings = PulsarSettings(name="p", runtime="sandbox", **pulsar.keys)
    kind = RestPulsar if isinstance(pulsar, SlurmPulsar) else AmqpPulsar
    backend = kind(settings, sandbox, silence_seconds=silence_seconds)
    try:
        job = await backend.prepare("suspended-1", 1, Needs())
        gate.hold("/ran")
        executor = Executor("debian:12", ["bash", "-c", gate.knock("/ran")])
        plan = Plan("suspended", "suspended-1", sandbox, [executor], heartbeat_seconds=0.2)
        await backend.submit(job, plan)
        ending = asyncio.create_task(end_of(backend, job))
        await asyncio.to_thread(gate.wait_for, "/ran")
        with slurm.suspended("pulsar_suspended-1.1"):
            ended_while_it_stands, _ = await asyncio.wait([ending], timeout=1.5 * silence_seconds)
            gate.release("/ran")
        ended = await asyncio.wait_for(ending, 60)
        assert not ended_while_it_stands
        assert ended.result and ended.result.status == FINISHED, ended
        await backend.clean(job)
    finally:
        await backend.close()


async def end_of(backend: Backend, job: Job) -> Ended:
    async for item in backend.watch(job):
        if isinstance(item, Ended):
            return item
    raise AssertionError("the watch ended without an end")
