"""The agents at the brokers of docker/, with the rights that are theirs: on a node those of `node`,
else those of `agent`."""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tesp.agents import letters
from tesp.agents.metrics import alarms, samples
from tesp.agents.publisher.announcements import Announcements
from tesp.agents.publisher.records import Heard
from tesp.agents.vocabulary import breaches
from tesp.bus import Message, prodiguer
from tesp.events import Event
from tesp.tes.states import State
from tests.peers.agent_programs import agent_program
from tests.peers.guarded_brokers import password_of
from tests.peers.guarded_bus import bus_at, hearing, next_of, say
from tests.peers.room import free_port, wait_until
from tests.peers.server_fixtures import StartServer

SENT = "site/elan/status"


def said_by_agents(root: str, correlation: str) -> list[Message]:
    """What agents say over a bus, each in its own words."""
    cause, producer = Message(SENT, {}, correlation, 0.0, correlation), prodiguer.Producer()
    sampler = replace(producer, app=samples.APP)
    done = Announcements(root, producer)
    breach = breaches.Breach("project", "genoms", "site:project", "genomes")
    letter = letters.Letter("alert", correlation=correlation)
    return [
        samples.message(root, sampler, correlation, {"cpus": 1.0}),
        alarms.message(root, "node1", alarms.Crossing("silent", 2.0, 1.0), correlation, 1),
        done.failed(Heard("t", correlation, 0, 1), "align", "no room"),
        breaches.message(root, cause, breach),
        letters.message_of(letter, f"{root}/agents/night/alert"),
    ]


@pytest.mark.parametrize("root", ["tesp", "site"])
async def test_what_agents_say_is_heard(guarded_url: str, root: str) -> None:
    said = said_by_agents(root, uuid.uuid4().hex)
    async with hearing(bus_at(guarded_url, "watcher"), f"{root}/#") as heard, asyncio.timeout(60):
        await say(bus_at(guarded_url, "agent"), *said)
        came: dict[str, str] = {}
        while len(came) < len(said):
            message = (await anext(heard)).message
            if message.id in {one.id for one in said}:
                came[message.id] = message.topic
    assert came == {one.id: one.topic for one in said}


class Agents:
    """Agents of tesp as processes at a guarded broker."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url, self.directory = url, directory
        self.mark = uuid.uuid4().hex[:12]
        self.port = free_port()

    def running(self, user: str, *args: str, **section: Any) -> Any:
        """One as this user, with its section of the settings."""
        place = self.directory / user
        return agent_program(place, *args, data_dir=place / "data", bus=self.bus(user), **section)

    def bus(self, user: str) -> dict[str, Any]:
        """The section of the settings that has the broker."""
        login = {"username": user, "password": password_of(user)}
        return {"brokers": [{"name": "b", "url": self.url, **login}]}

    def get(self, path: str) -> Any:
        """What the one with the port answers."""
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60).json()
        return None


async def until(deliveries: Any, fits: Callable[[Message], bool]) -> Message:
    """The next that fits."""
    async for delivery in deliveries:
        message: Message = delivery.message
        if fits(message):
            return message
    raise AssertionError("no more came")


async def test_a_node_is_measured_with_rights_for_that_alone(
    guarded_url: str, tmp_path: Path
) -> None:
    agents = Agents(guarded_url, tmp_path)
    mark = agents.mark
    limits = {"memory_percent": 0.001, "disk_percent": 100.0}
    section = {"port": agents.port, "limits": limits, "late_seconds": 0.5}

    def collector() -> Any:
        words = ("metrics", "--collect", "--who", f"c-{mark}")
        return agents.running("agent", *words, metrics=section)

    topics = [f"tesp/infrastructure/{what}/+/status" for what in ("metrics", "alarms", "late")]
    async with hearing(bus_at(guarded_url, "watcher"), *topics) as heard, asyncio.timeout(120):
        with collector() as program:
            program.wait_for_log(" listens to ", 2)
            assert program.stop() == 0
        # While it is away the broker keeps what the node says.
        own = {"host": mark, "interval_seconds": 0.1, "paths": [tmp_path]}
        with agents.running("node", "metrics", metrics=own) as program:
            for _ in range(3):
                await until(heard, lambda m: m.payload.get("host") == mark)
            assert program.stop() == 0
        with collector() as program:
            alarm = await until(heard, lambda m: "alarm" in m.payload and m.payload["host"] == mark)
            assert alarm.payload["status"] == "raised"
            kept = lambda: len((agents.get(f"/hosts/{mark}") or {}).get("samples", ())) >= 3  # noqa: E731
            wait_until(kept, "what came while it was away is collected")
            running = Event(mark, 1, State.RUNNING, time.time(), "sam", 1, "align")
            event = prodiguer.message(running, "tesp", prodiguer.Producer())
            await say(bus_at(guarded_url, "tesp"), event)
            late = await until(heard, lambda m: m.payload.get("task") == mark)
            assert late.payload["status"] == "late"
            assert program.stop() == 0
            assert "refuses" not in program.log


async def test_a_publisher_tells_with_the_rights_of_an_agent(
    guarded_url: str, start_server: StartServer, tmp_path: Path
) -> None:
    agents, files = Agents(guarded_url, tmp_path), tmp_path / "files"
    server = start_server(bus=agents.bus("tesp"))
    publisher = {"url": server.url, "rules": [{"name": "r", "to": f"file://{files}/published"}]}
    section = {"publisher": publisher, "staging": {"files": [{"path": files}]}}
    task = {
        "name": agents.mark,
        "executors": [{"image": "i", "command": ["sh", "-c", "echo words >/out/a"]}],
        "outputs": [{"path": "/out/a", "url": f"file://{files}/a"}],
    }
    topic = f"tesp/infrastructure/publications/{agents.mark}/status"
    async with hearing(bus_at(guarded_url, "watcher"), topic) as heard, asyncio.timeout(120):
        words = ("publisher", "--who", f"p-{agents.mark}")
        with agents.running("agent", *words, **section) as program:
            program.wait_for_log(" listens to ")
            done = server.submit(task)
            told = (await anext(heard)).message.payload
            assert (told["task"], told["status"]) == (done, "finished")
            assert program.stop() == 0
            assert "refuses" not in program.log


async def test_the_vocabulary_is_held_with_the_rights_of_an_agent(
    guarded_url: str, tmp_path: Path
) -> None:
    agents = Agents(guarded_url, tmp_path)
    mark, terms = agents.mark, tmp_path / "terms"
    terms.mkdir()
    project = {"project": {"terms": [{"name": "genomes"}]}}
    (terms / "site.json").write_text(json.dumps({"namespace": "site", "collections": project}))
    rule = {"topic": "site/+/status", "field": "project", "collection": "site:project"}
    section = {"directory": terms, "port": agents.port, "rules": [rule]}
    wrong = Message(SENT, {"project": "genoms"}, f"w{mark}", time.time(), mark)
    asked = {"collection": "site:project", "name": "genomes", "reply_to": f"a{mark}"}
    letter = Message(f"tesp/agents/v-{mark}/term", asked, f"l{mark}", time.time(), mark)
    topics = ("tesp/infrastructure/vocabulary/status", f"tesp/agents/a{mark}/+")
    async with hearing(bus_at(guarded_url, "agent"), *topics) as heard, asyncio.timeout(120):
        words = ("vocabulary", "--who", f"v-{mark}")
        with agents.running("agent", *words, vocabulary=section) as program:
            program.wait_for_log(" listens to ")
            await say(bus_at(guarded_url, "pipeline"), wrong)
            assert (await next_of(heard, mark)).payload["nearest"] == "genomes"
            await say(bus_at(guarded_url, "agent"), letter)
            assert (await next_of(heard, mark)).payload["known"] is True
            assert program.stop() == 0
            assert "refuses" not in program.log
