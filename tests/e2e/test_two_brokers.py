"""A primary and a secondary RabbitMQ with a shovel between them carry the stream through the
loss of one."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.event_stream import EventStream
from tests.peers.guarded_brokers import GuardedRabbitmq, password_of
from tests.peers.room import Room, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.subscribers import AmqpSubscriber, Came
from tests.peers.tesp_server import TERMINAL, TespServer

PROGRAM = Path(sys.executable).with_name("tesp")
TOPIC = "site/elan/status"
TASK: dict[str, Any] = {"name": "n", "executors": [{"image": "i", "command": ["true"]}]}


@pytest.fixture
def primary() -> Iterator[GuardedRabbitmq]:
    """The first of two: what passes is kept for the second."""
    with Room.temporary() as room:
        yield GuardedRabbitmq.boot(room)


@pytest.fixture
def secondary(primary: GuardedRabbitmq) -> Iterator[GuardedRabbitmq]:
    """It fetches what passes at the first."""
    with Room.temporary() as room:
        yield GuardedRabbitmq.boot(room, f"127.0.0.1:{primary.port}")


def entry(name: str, broker: GuardedRabbitmq) -> dict[str, Any]:
    """A broker as docs/deploying.md has it in the settings."""
    return {
        "name": name,
        "url": f"amqp://127.0.0.1:{broker.port}/tesp",
        "username": "tesp",
        "password": password_of("tesp"),
        "exchange": "amq.topic",
    }


def run(server: TespServer, count: int) -> list[str]:
    """Some tasks, to their end."""
    ids = [server.submit(TASK) for _ in range(count)]
    assert {server.wait(one)["state"] for one in ids} == {"COMPLETE"}
    return ids


def told(server: TespServer, tasks: list[str]) -> dict[str, list[str]]:
    """The ids of each task's events, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    open_tasks = set(tasks)
    with EventStream(f"{server.url}/events?after=0") as stream:
        for sent in stream:
            found[sent.payload["task"]].append(sent.payload["message_id"])
            if sent.payload["state"] in TERMINAL:
                open_tasks.discard(sent.payload["task"])
            if not open_tasks:
                return dict(found)
    raise AssertionError("the log ended")


def by_task(came: list[Came]) -> dict[str, list[str]]:
    """The same of what came."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in came:
        if "task" in one.payload:
            found[one.payload["task"]].append(one.id)
    return dict(found)


def say(broker: GuardedRabbitmq, number: int) -> None:
    """By the command line, as a pipeline, at one of the brokers alone."""
    url = f"amqp://pipeline@127.0.0.1:{broker.port}/tesp"
    subprocess.run(
        [PROGRAM, "bus", "send", "--host", url, "-t", TOPIC, "--attr", "number", str(number)],
        env={**os.environ, "TESP_BUS_PASSWORD": password_of("pipeline")},
        check=True,
        timeout=60,
    )


def test_who_listens_at_the_secondary_misses_nothing_though_the_primary_dies(
    start_server: StartServer, primary: GuardedRabbitmq, secondary: GuardedRabbitmq
) -> None:
    server = start_server(
        bus={"brokers": [entry("primary", primary), entry("secondary", secondary)]}
    )
    keys = ("tesp.#", "site.#")
    with AmqpSubscriber.listening(secondary.url_of("watcher"), "watcher-1", *keys) as collected:
        made = run(server, 5)
        say(primary, 1)
        # By the shovel alone came what the pipeline says, and each event a second time.
        wait_until(lambda: len(collected.messages) == 2 * 4 * 5 + 1, "all came by both ways")
        primary.kill()
        made += run(server, 5)
        wait_until(lambda: by_task(collected.firsts) == told(server, made), "all came")
        assert len(collected.messages) == len(collected.firsts) + 4 * 5

        primary.start()
        made += run(server, 5)
        say(primary, 2)
        wait_until(lambda: len(collected.messages) >= 2 * 4 * 15 + 2, "all came by both ways")
        log = told(server, made)
    assert by_task(collected.firsts) == log
    said = [came.payload["number"] for came in collected.firsts if "number" in came.payload]
    assert said == ["1", "2"]
    payloads = {came.id: came.payload for came in collected.messages}
    assert [c for c in collected.messages if c.payload != payloads[c.id]] == []
