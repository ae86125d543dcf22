"""A message starts a task, its events start another, and the control topic is obeyed."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

SECRET = "sesame open"
HOSTILE = "$(touch /tmp/pwned); `id` ' \" M31"


def task(name: str, command: str, **env: str) -> dict[str, Any]:
    executor = {"image": "i", "command": ["bash", "-c", command], "env": env}
    return {"name": name, "executors": [executor]}


def tasks_of(server: TespServer, trigger: str) -> list[dict[str, Any]]:
    params = {"tag_key": "trigger", "tag_value": trigger, "view": "FULL"}
    found: list[dict[str, Any]] = server.client.get("/tasks", params=params).json()["tasks"]
    return found


def only_task_of(server: TespServer, trigger: str) -> dict[str, Any]:
    wait_until(lambda: tasks_of(server, trigger), f"a task of {trigger}")
    (found,) = tasks_of(server, trigger)
    return server.wait(found["id"])


def wait_for_listeners(server: TespServer, *names: str) -> None:
    """A message that nobody listens for is lost: that is how MQTT is."""
    for name in names:
        wait_until(lambda name=name: f"{name} listens to" in server.log.read_text(), name)


ALERT = {
    "name": "alert",
    "topic": "site/alerts/status",
    "when": {"status": "finished", "magnitude": {"below": 18.5}},
    "task": task("first", 'printf "%s" "$TARGET"', TARGET="{target}"),
}
NEXT = {
    "name": "next",
    "topic": "tesp/infrastructure/pipelines/first/status",
    "when": {"status": "finished"},
    "task": task("second", 'printf "%s" "$AFTER"', AFTER="{task}"),
}


@pytest.fixture
def broker(own_mosquitto: MosquittoServer) -> dict[str, Any]:
    return {"name": "site", "url": own_mosquitto.url}


def test_a_message_of_mosquitto_pub_runs_a_chain_of_tasks_that_is_told_on_mqtt(
    start_server: StartServer, own_mosquitto: MosquittoServer, broker: dict[str, Any]
) -> None:
    bus = {"brokers": [{**broker, "trusted": True, "client_id": "tesp"}]}
    server = start_server(bus=bus, triggers=[ALERT, NEXT])
    wait_for_listeners(server, "trigger-alert", "trigger-next")
    said = {"target": HOSTILE, "magnitude": "17.2", "PATH": "/evil", "status": "finished"}
    message = {**said, "message_id": "alert-1", "correlation_id": "night-1", "hops": 1}
    topics = "tesp/infrastructure/pipelines/+/status"
    with own_mosquitto.listening(topics, 8) as listening:
        own_mosquitto.send("site/alerts/status", bytes(range(256)) * 16)
        own_mosquitto.send("site/alerts/status", "[" * 10_000)
        own_mosquitto.send("site/alerts/status", json.dumps({**said, "magnitude": 21}))
        for _ in range(3):
            own_mosquitto.send("site/alerts/status", json.dumps(message))
        first, second = only_task_of(server, "alert"), only_task_of(server, "next")
        told = [json.loads(line.partition(" ")[2]) for line in listening.lines()]
    assert first["state"] == second["state"] == "COMPLETE"
    assert first["logs"][0]["logs"][0]["stdout"] == HOSTILE
    assert second["logs"][0]["logs"][0]["stdout"] == first["id"]
    assert {one["correlation_id"] for one in told} == {"night-1"}
    hops = {one["task"]: one["hops"] for one in told}
    assert hops == {first["id"]: 2, second["id"]: 3}
    states = ["queued", "initializing", "started", "finished"]
    assert [one["status"] for one in told if one["task"] == second["id"]] == states


def test_nobody_starts_or_ends_anything_whom_nobody_vouches_for(
    start_server: StartServer, own_mosquitto: MosquittoServer, broker: dict[str, Any]
) -> None:
    server = start_server(
        bus={"brokers": [{**broker, "client_id": "tesp"}]},
        triggers=[ALERT],
        control={"enabled": True, "secret": SECRET},
    )
    wait_for_listeners(server, "trigger-alert", "control")
    failed = server.run(task("elan", "exit 3"))["id"]
    waiting = server.submit(task("elan", "sleep 600"))
    server.wait(waiting, "RUNNING")
    topic = "tesp/infrastructure/pipelines/elan/control"
    alert = {"target": "M31", "magnitude": 1, "status": "finished"}
    own_mosquitto.send(topic, json.dumps({"action": "cancel", "secret": "guessed"}))
    own_mosquitto.send("site/alerts/status", json.dumps(alert))
    for said in ("is not obeyed", "is of a sender whom nobody vouches for"):
        wait_until(lambda said=said: said in server.log.read_text(), said)
    assert server.state(waiting) == "RUNNING"
    own_mosquitto.send(topic, json.dumps({"action": "cancel", "secret": SECRET}))
    assert server.wait(waiting)["state"] == "CANCELED"
    own_mosquitto.send(topic, json.dumps({"action": "raise", "secret": SECRET}))
    params = {"tag_key": "raised_from", "tag_value": failed}
    wait_until(lambda: server.client.get("/tasks", params=params).json()["tasks"], "a raised one")
    assert tasks_of(server, "alert") == []
    assert SECRET not in server.log.read_text()


def test_without_a_broker_events_start_tasks_within_the_server(start_server: StartServer) -> None:
    loop = {
        "name": "loop",
        "topic": "tesp/infrastructure/pipelines/+/status",
        "when": {"status": "finished"},
        "task": task("again", "true"),
    }
    server = start_server(triggers=[loop])
    server.run(task("begin", "true"))
    wait_until(lambda: "came after 8 hops" in server.log.read_text(), "the end of the loop")
    assert len(tasks_of(server, "loop")) == 8


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({**ALERT, "task": task("x", "echo {target}")}, "holds the mark {target}"),
        (
            {**ALERT, "task": {**task("x", "true"), "inputs": [{"path": "/i/a", "url": "x://y"}]}},
            "triggers: alert: task: inputs[0].url",
        ),
    ],
)
def test_a_trigger_that_could_never_work_stops_the_start(
    start_server: StartServer, trigger: dict[str, Any], said: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        start_server(triggers=[trigger])
    assert said in str(caught.value)


def test_the_trigger_of_the_document_runs_its_task(
    start_server: StartServer, own_mosquitto: MosquittoServer, broker: dict[str, Any]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "triggers.md").read_text()
    block = text.partition("<!-- trigger -->\n```toml\n")[2].partition("```")[0]
    triggers = tomllib.loads(block)["default"]["triggers"]
    server = start_server(bus={"brokers": [{**broker, "trusted": True}]}, triggers=triggers)
    wait_for_listeners(server, "trigger-burst")
    said = {"status": "finished", "magnitude": 17, "target": "M31; id"}
    own_mosquitto.send("site/alerts/gcn/status", json.dumps(said))
    done = only_task_of(server, "burst")
    assert (done["name"], done["state"]) == ("observe M31; id", "COMPLETE")
    assert done["logs"][0]["logs"][0]["stdout"] == "M31; id\n"
