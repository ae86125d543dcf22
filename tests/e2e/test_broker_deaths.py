"""A thousand tasks tell of themselves while their broker dies, twice, in the middle."""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.peers.event_stream import EventStream
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.subscribers import AmqpSubscriber, Collected, MqttSubscriber
from tests.peers.tesp_server import TERMINAL, TespServer

TASKS, RUN = 1000, 100
THIRD = TASKS // 3
TASK: dict[str, Any] = {"executors": [{"image": "i", "command": ["true"]}]}


@dataclass(frozen=True)
class Broker:
    """A broker, how it dies, and who listens to it."""

    settings: dict[str, Any]
    die: Callable[[], None]
    start: Callable[[], None]
    listening: Callable[[], contextlib.AbstractContextManager[Collected]]


@pytest.fixture(params=["rabbitmq", "mosquitto"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """RabbitMQ is killed. Mosquitto is told to end: it confirms what it has yet to write."""
    if request.param == "rabbitmq":
        rabbitmq: RabbitmqServer = request.getfixturevalue("own_rabbitmq")
        return Broker(
            {"name": "site", "url": f"amqp://127.0.0.1:{rabbitmq.port}"},
            rabbitmq.kill,
            rabbitmq.start,
            lambda: AmqpSubscriber.listening(rabbitmq.url, "bystander"),
        )
    mosquitto: MosquittoServer = request.getfixturevalue("own_mosquitto")
    return Broker(
        {"name": "site", "url": mosquitto.url},
        mosquitto.stop,
        mosquitto.start,
        lambda: MqttSubscriber.listening(mosquitto.port, "tesp/#", "bystander"),
    )


def make(server: TespServer, count: int) -> list[str]:
    """So many tasks; of five, one may run to its end."""
    tasks = [{**TASK, "name": f"n-{number}"} for number in range(count)]
    made = server.client.post("/tasks:batch", json={"tasks": tasks}).json()["tasks"]
    ids = [one["id"] for one in made]
    unwanted = [one for number, one in enumerate(ids) if number % (TASKS // RUN)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(server.cancel, unwanted))
    return ids


def log_of(server: TespServer, tasks: set[str]) -> Iterator[dict[str, Any]]:
    """All events until these tasks have ended, as those who follow the service are told."""
    open_tasks = set(tasks)
    with EventStream(f"{server.url}/events?after=0") as stream:
        for sent in stream:
            yield sent.payload
            if sent.payload["state"] in TERMINAL:
                open_tasks.discard(sent.payload["task"])
            if not open_tasks:
                return


def by_task(payloads: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """The ids of each task's messages, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    for payload in payloads:
        found[payload["task"]].append(payload["message_id"])
    return dict(found)


def test_a_thousand_tasks_are_told_of_whole_and_in_order_though_their_broker_dies_twice(
    start_server: StartServer, broker: Broker, record_property: Callable[[str, object], None]
) -> None:
    server = start_server(bus={"brokers": [broker.settings]}, local={"slots": 8})
    with broker.listening() as collected:
        made = make(server, THIRD)
        wait_until(lambda: len(collected.ids) > 50, "some of it has come")
        broker.die()
        made += make(server, THIRD)
        # Tasks run, broker or not.
        alone = server.run(TASK)
        assert alone["state"] == "COMPLETE"
        before = len(collected.ids)
        broker.start()
        wait_until(lambda: len(collected.ids) > before, "what waited comes", 180)
        broker.die()
        made += make(server, TASKS - len(made))
        broker.start()

        log = list(log_of(server, {*made, alone["id"]}))
        told = {payload["message_id"]: payload for payload in log}
        wait_until(lambda: collected.ids >= told.keys(), "all of it has come", 180)
    assert len(set(made)) == TASKS
    ends = Counter(payload["state"] for payload in log if payload["state"] in TERMINAL)
    assert ends.keys() == {"COMPLETE", "CANCELED"}
    assert ends["COMPLETE"] > RUN
    assert by_task(came.payload for came in collected.firsts) == by_task(log)
    # What came again is what had come before.
    assert [c.id for c in collected.messages if c.payload != told[c.id]] == []
    record_property("repeats", len(collected.messages) - len(collected.firsts))
