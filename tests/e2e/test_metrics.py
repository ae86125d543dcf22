"""Nodes say how they do, one collector keeps it, and tells where something is wrong."""

import contextlib
import json
import sqlite3
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from tests.contract.bus.harness import Site, take
from tests.peers.agent_programs import (
    HOSTILE,
    AgentProgram,
    agent,
    agent_program,
    documented,
    payloads,
)
from tests.peers.gate import Gate
from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import free_port, wait_until
from tests.peers.server_fixtures import StartServer

# From its start to the end of a task that does nothing.
LATE_SECONDS = 3.0
# What no machine of the tests comes to by itself.
NO_LIMITS = {"disk_percent": 100.0}


class Collector:
    """`tesp agent metrics --collect` as a process, and its answers."""

    def __init__(self, directory: Path, url: str, prefix: str, **metrics: Any) -> None:
        self.port = free_port()
        self.directory = directory
        self.settings = {
            "data_dir": directory / "data",
            "bus": {"prefix": prefix, "brokers": [{"name": "site", "url": url}]},
            "metrics": {"port": self.port, "limits": NO_LIMITS, **metrics},
        }

    @contextmanager
    def running(self, listeners: int = 1) -> Iterator[AgentProgram]:
        with agent_program(self.directory, "metrics", "--collect", **self.settings) as program:
            program.wait_for_log(" listens to ", listeners)
            wait_until(lambda: self.get("/alarms") is not None, "the collector answers")
            yield program

    def get(self, path: str) -> Any:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60).json()
        return None

    def hosts(self) -> dict[str, Any]:
        return {one["host"]: one for one in self.get("/hosts")["hosts"]}

    def shown(self, *words: str) -> str:
        done = agent(self.directory, "metrics", "--show", *words, **self.settings)
        assert done.returncode == 0, done.stderr
        return done.stdout


def sample(**values: Any) -> str:
    said = {"time": datetime.now(UTC).isoformat(), "status": "measured", **values}
    return json.dumps(said)


def status_of(prefix: str, host: str) -> str:
    return f"{prefix}/infrastructure/metrics/{host}/status"


def alarms_of(prefix: str) -> str:
    return f"{prefix}/infrastructure/alarms/+/status"


async def test_a_node_is_measured_collected_and_shown_over_both_kinds_of_broker(
    there: Site, tmp_path: Path
) -> None:
    assert there.settings
    node = {
        "bus": {"prefix": there.root, "brokers": [{"name": "b", "url": there.settings.url}]},
        "metrics": {"host": "node1", "interval_seconds": 0.1, "paths": [tmp_path, "/no/such"]},
    }
    collector = Collector(tmp_path / "c", there.settings.url, there.root)
    async with there.opened() as bus, bus.subscribe(status_of(there.root, "node1")) as heard:
        with collector.running() as program:
            await there.send_raw("infrastructure/metrics/node1/status", *HOSTILE)
            with agent_program(tmp_path / "n", "metrics", **node) as measuring:
                first, _ = await take(heard, 2)
                wait_until(lambda: len(samples(collector, "node1")) >= 3, "samples are kept")
                assert measuring.stop() == 0
            wait_until(lambda: collector.hosts()["node1"]["heard"] is None, "it said goodbye")
            by_hand = collector.shown()
            one = collector.shown("node1", "--last", "600")
            assert program.stop() == 0
    values = samples_of(first.message.payload)
    assert values["memory_bytes"] >= values["memory_used_bytes"] > 0
    assert 0 <= values[f"disk_percent:{tmp_path}"] <= 100
    assert values["cpus"] >= 1
    assert "The disk of /no/such cannot be measured" in measuring.log
    if there.settings.scheme == "amqp":
        assert first.message.key == "prod.tesp.tesp.metrics.7000"
    assert by_hand.splitlines()[1].startswith("node1\tended\t-\t")
    assert len(one.splitlines()) > 3


def samples(collector: Collector, host: str) -> list[Any]:
    return list(collector.get(f"/hosts/{host}").get("samples", ()))


def samples_of(payload: Mapping[str, Any]) -> dict[str, float]:
    return {k: v for k, v in payload.items() if isinstance(v, int | float)}


def test_a_limit_is_told_once_a_crossing_and_its_end_too_over_a_restart(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    limits = {"disk_percent": 90.0, "load_per_cpu": 2.0}
    collector = Collector(tmp_path, mosquitto.url, prefix, limits=limits)

    def measure(disk: float, load: float, host: str = "node1") -> None:
        said = {
            "disk_percent:/srv": disk,
            "load_5": load,
            "cpus": 4,
            "correlation_id": f"at {disk}",
        }
        mosquitto.send(status_of(prefix, host), sample(**said))

    with mosquitto.listening(alarms_of(prefix), 4) as listening:
        with collector.running():
            for disk in (50, 90, 91, 89, 95):
                measure(disk, 1)
            wait_until(lambda: len(samples(collector, "node1")) == 5, "all are kept")
            (raised,) = collector.get("/alarms")["alarms"]
            wait_until(lambda: has_said_all(collector), "it is told")
        with collector.running():
            for disk, load in ((97, 8.1), (80, 7.9), (80, 7.0)):
                measure(disk, load)
            told = payloads(listening.lines())
            assert collector.get("/alarms")["alarms"] == []
    assert (raised["host"], raised["alarm"], raised["limit"]) == ("node1", "disk_percent:/srv", 90)
    assert [(one["alarm"], one["value"], one["status"]) for one in told] == [
        ("disk_percent:/srv", 90, "raised"),
        ("load_per_cpu", 2.025, "raised"),
        ("disk_percent:/srv", 80, "over"),
        ("load_per_cpu", 1.75, "over"),
    ]
    assert [one["correlation_id"] for one in told] == ["at 90", "at 97", "at 90", "at 97"]
    assert {one["hops"] for one in told} == {1}


def test_a_node_that_falls_silent_is_told_of_and_one_that_ended_in_order_is_not(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    collector = Collector(tmp_path, mosquitto.url, prefix, silent_seconds=0.5)
    with mosquitto.listening(alarms_of(prefix), 2) as listening, collector.running():
        mosquitto.send_all(status_of(prefix, "ended"), sample(cpus=1), sample(status="ended"))
        mosquitto.send(status_of(prefix, "lost"), sample(cpus=1))
        wait_until(lambda: collector.get("/alarms")["alarms"], "an alarm")
        mosquitto.send(status_of(prefix, "lost"), sample(cpus=1))
        raised, over = payloads(listening.lines())
    assert (raised["host"], raised["alarm"], raised["status"]) == ("lost", "silent", "raised")
    assert (over["host"], over["alarm"], over["status"]) == ("lost", "silent", "over")
    assert raised["correlation_id"] == over["correlation_id"]


def test_a_broker_that_is_away_makes_no_node_silent_and_what_it_says_later_is_kept(
    own_mosquitto: MosquittoServer, tmp_path: Path
) -> None:
    node = {
        "bus": {"brokers": [{"name": "b", "url": own_mosquitto.url}]},
        "metrics": {"host": "node1", "interval_seconds": 0.2},
    }
    collector = Collector(tmp_path / "c", own_mosquitto.url, "tesp", silent_seconds=4.0)
    with collector.running() as program, agent_program(tmp_path / "n", "metrics", **node):
        wait_until(lambda: samples(collector, "node1"), "a sample")
        own_mosquitto.stop()
        gone = datetime.now(UTC)
        program.wait_for_log("It is tried again for ever")
        # The node goes on measuring meanwhile.
        wait_until(lambda: datetime.now(UTC) - gone > timedelta(seconds=6), "a while")
        back = datetime.now(UTC)
        own_mosquitto.start()

        def meanwhile() -> list[Any]:
            known = samples(collector, "node1")
            return [s for s in known if gone.timestamp() + 0.5 < s["time"] < back.timestamp()]

        wait_until(lambda: len(meanwhile()) >= 5, "what was measured meanwhile")
        assert collector.get("/alarms")["alarms"] == []
        assert "silent" not in program.log


def test_a_task_that_runs_too_long_is_told_once_with_its_cause(
    start_server: StartServer, mosquitto: MosquittoServer, tmp_path: Path, prefix: str, gate: Gate
) -> None:
    bus = {"prefix": prefix, "brokers": [{"name": "site", "url": mosquitto.url}]}
    server = start_server(bus=bus)
    collector = Collector(tmp_path / "c", mosquitto.url, prefix, late_seconds=LATE_SECONDS)
    node = {"bus": bus, "metrics": {"host": "node1", "interval_seconds": 0.1}}
    gate.hold("/end")
    knock = {"image": "i", "command": ["bash", "-c", gate.knock("/end")]}
    topic = f"{prefix}/infrastructure/late/+/status"
    with mosquitto.listening(topic, 2) as listening:
        with collector.running(2), agent_program(tmp_path / "n", "metrics", **node):
            quick = {"name": "quick", "executors": [{"image": "i", "command": ["true"]}]}
            server.run(quick)
            headers = {"X-Correlation-ID": "night-1"}
            slow = server.submit({"name": "slow", "executors": [knock]}, **headers)
            wait_until(
                lambda: collector.hosts().get("node1", {}).get("values", {}).get("tasks", 0) >= 1,
                "the task is counted on its node",
            )
            wait_until(lambda: is_told(collector, slow), "it is told")
        with collector.running(2):
            other = server.submit({"name": "other", "executors": [knock]})
            first, second = payloads(listening.lines())
        gate.release("/end")
    assert (first["task"], first["name"], first["status"]) == (slow, "slow", "late")
    assert (first["correlation_id"], first["hops"], first["limit"]) == ("night-1", 1, LATE_SECONDS)
    assert second["task"] == other


def test_no_task_is_late_whose_end_is_told_only_now(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    collector = Collector(tmp_path, mosquitto.url, prefix, late_seconds=600.0, silent_seconds=1.0)
    begun = datetime.now(UTC) - timedelta(hours=1)

    def event(state: str, time: datetime) -> None:
        said = {"task": "t-1", "state": state, "name": "n", "time": time.isoformat()}
        mosquitto.send(f"{prefix}/infrastructure/pipelines/n/status", json.dumps(said))

    def told() -> Any:
        return found(collector, "SELECT told FROM running")

    with collector.running(2):
        event("RUNNING", begun)
        wait_until(told, "it is noted that it runs")
        # A look begins with what the collector says itself: two of them are done.
        with mosquitto.listening(status_of(prefix, "collector"), 3) as looks:
            assert len(looks.lines()) == 3
        assert told() == (0,)
        event("COMPLETE", begun + timedelta(minutes=1))
        wait_until(lambda: told() is None, "it is noted that it ended")
        assert has_said_all(collector)


def is_told(collector: Collector, task: str) -> bool:
    """Whether it is noted so, and has been said."""
    query = "SELECT told FROM running WHERE task = ? AND NOT EXISTS (SELECT 1 FROM outbox)"
    return found(collector, query, task) == (1,)


def has_said_all(collector: Collector) -> bool:
    """Whether nothing waits to be said."""
    return found(collector, "SELECT 1 FROM outbox") is None


def found(collector: Collector, query: str, *values: str) -> Any:
    """The first row of what it has noted."""
    file = collector.directory / "data/agents/collector.db"
    with contextlib.closing(sqlite3.connect(file)) as db:
        return db.execute(query, values).fetchone()


def test_what_is_too_old_is_forgotten_and_what_cannot_be_asked_is_said(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    collector = Collector(tmp_path, mosquitto.url, prefix, keep_days=1.0)
    old = datetime.now(UTC) - timedelta(days=2)
    with collector.running():
        mosquitto.send(status_of(prefix, "node1"), sample(cpus=1, time=old.isoformat()))
        mosquitto.send(status_of(prefix, "node1"), sample(cpus=2))
        mosquitto.send(status_of(prefix, "node1"), sample(cpus=3, time="2999-01-01T00:00:00+00:00"))
        # What says a time to come is of the moment in which it came.
        wait_until(lambda: len(samples_last(collector, 300_000)) == 3, "the first are kept")
        mosquitto.send(status_of(prefix, "node1"), sample(cpus=4))
        wait_until(lambda: len(samples_last(collector, 300_000)) == 4, "all are kept")
        assert collector.hosts()["node1"]["values"]["cpus"] == 4
        assert "did you mean node1?" in collector.get("/hosts/node2")["detail"]
        assert collector.get("/hosts/node1?last=x")["detail"] == "last is no number above 0"
        done = agent(tmp_path, "metrics", "--show", "nobody", **collector.settings)
        assert (done.returncode, "No node 'nobody'" in done.stderr) == (2, True)
    with collector.running():
        wait_until(lambda: len(samples_last(collector, 300_000)) == 3, "the oldest is forgotten")
    done = agent(tmp_path, "metrics", "--show", **collector.settings)
    assert (done.returncode, "does not answer" in done.stderr) == (5, True)


def samples_last(collector: Collector, seconds: float) -> list[Any]:
    return list(collector.get(f"/hosts/node1?last={seconds}")["samples"])


def test_the_settings_of_the_document_raise_an_alarm_and_tell_of_late_tasks(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    block = tomllib.loads(documented("metrics"))["default"]["metrics"]
    collector = Collector(tmp_path, mosquitto.url, prefix, **block)
    with mosquitto.listening(alarms_of(prefix), 1) as listening, collector.running(2):
        mosquitto.send(status_of(prefix, "node1"), sample(**{"disk_percent:/srv": 90}))
        (told,) = payloads(listening.lines())
    assert (told["alarm"], told["status"]) == ("disk_percent:/srv", "raised")


def test_two_collectors_of_one_name_are_refused(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    collector = Collector(tmp_path / "a", mosquitto.url, prefix)
    with collector.running():
        done = agent(tmp_path / "b", "metrics", "--collect", **collector.settings)
    assert done.returncode == 2
    assert "another agent's that runs" in done.stderr
