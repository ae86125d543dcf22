"""Terms are served, messages are held against them, and both go on while the files change."""

import contextlib
import json
import signal
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.bus.harness import Site, take
from tests.peers.agent_programs import (
    HOSTILE,
    AgentProgram,
    agent,
    agent_program,
    documented,
    payloads,
)
from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import free_port, wait_until

TERMS = {"project": {"label": "Projects", "terms": [{"name": "genomes", "synonyms": ["genome"]}]}}


class Terms:
    """A directory of terms, and an agent over it."""

    def __init__(self, directory: Path, url: str, prefix: str) -> None:
        self.files, self.directory = directory / "terms", directory
        self.files.mkdir()
        self.write(TERMS)
        self.port = free_port()
        rule = {"field": "project", "collection": "site:project"}
        self.settings = {
            "data_dir": directory / "data",
            "bus": {"prefix": prefix, "brokers": [{"name": "site", "url": url}]},
            "vocabulary": {
                "directory": self.files,
                "port": self.port,
                "rules": [
                    {"topic": f"{prefix}/labs/+/status", **rule},
                    {"topic": f"{prefix}/#", **rule, "field": "kind"},
                ],
            },
        }

    def write(self, collections: object, name: str = "site.json") -> None:
        self.files.joinpath(name).write_text(
            json.dumps({"namespace": "site", "collections": collections})
        )

    @contextmanager
    def running(self) -> Iterator[AgentProgram]:
        with agent_program(self.directory, "vocabulary", **self.settings) as program:
            program.wait_for_log(" listens to ", 2)
            wait_until(lambda: self.get("/collections"), "it answers")
            yield program

    def get(self, path: str) -> Any:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60).json()
        return None


def failures_of(prefix: str) -> str:
    return f"{prefix}/infrastructure/vocabulary/status"


async def test_a_message_that_breaks_a_rule_is_told_once_with_the_nearest_term(
    there: Site, tmp_path: Path
) -> None:
    assert there.settings
    terms = Terms(tmp_path, there.settings.url, there.root)
    wrong = there.message("labs/a/status", project="genoms")
    bodies = [
        {"project": "genome"},
        {"other": "anything"},
        {"project": "looped", "hops": 8},
        {"kind": "$(reboot)", "project": "genomes"},
    ]
    async with there.opened() as bus, bus.subscribe(failures_of(there.root)) as heard:
        with terms.running() as program:
            await there.send_raw("labs/a/status", *HOSTILE)
            for body in bodies:
                await there.send_raw("labs/a/status", json.dumps(body).encode())
            await bus.publish([wrong, wrong])
            first, second = await take(heard, 2)
            listed = terms.get("/rejections")["rejections"]
            assert program.stop() == 0
    told = {one.message.payload["value"]: one.message for one in (first, second)}
    assert set(told) == {"genoms", "$(reboot)"}
    message = told["genoms"]
    assert (message.payload["status"], message.payload["nearest"]) == ("failed", "genomes")
    assert (message.payload["field"], message.payload["message"]) == (
        "project",
        wrong.id,
    )
    assert (message.correlation, message.hops) == (wrong.correlation, wrong.hops + 1)
    assert len(listed) == 2
    assert {one["value"] for one in listed} == set(told)
    assert "it ends here" in program.log


def test_terms_are_served_and_read_again_on_a_signal_or_by_a_letter(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    terms = Terms(tmp_path, mosquitto.url, prefix)
    place = "/collections/site/project"
    with terms.running() as program:
        assert terms.get("/collections")["collections"] == [
            {"collection": "site:project", "label": "Projects", "count": 1}
        ]
        assert [one["name"] for one in terms.get(place)["terms"]] == ["genomes"]
        assert terms.get(f"{place}/genome")["name"] == "genomes"
        assert terms.get(f"{place}/genoms")["nearest"] == "genomes"
        terms.files.joinpath("broken.toml").write_text("namespace = ")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for_log("the terms stay as they were")
        assert terms.get(f"{place}/genome")["name"] == "genomes"
        terms.files.joinpath("broken.toml").unlink()
        terms.write({"species": {"terms": [{"name": "a/b"}]}}, "more.json")
        program.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(terms.get("/collections")["collections"]) == 2, "two are there")
        assert terms.get("/collections/site/species/a%2Fb")["name"] == "a/b"
        terms.files.joinpath("more.json").unlink()
        mosquitto.send(f"{prefix}/agents/vocabulary/reload", "{}")
        wait_until(lambda: len(terms.get("/collections")["collections"]) == 1, "one is left")


def test_an_agent_that_asks_by_letter_gets_its_answer(
    mosquitto: MosquittoServer, tmp_path: Path, prefix: str
) -> None:
    terms = Terms(tmp_path, mosquitto.url, prefix)
    asked = {"collection": "site:project", "reply_to": "asker", "correlation_id": "c"}
    topic = f"{prefix}/agents/vocabulary"
    with mosquitto.listening(f"{prefix}/agents/asker/+", 3) as listening, terms.running():
        mosquitto.send(f"{topic}/term", json.dumps({**asked, "name": "genome"}))
        mosquitto.send(f"{topic}/term", json.dumps({**asked, "name": "genoms"}))
        mosquitto.send(f"{topic}/term", json.dumps({"name": "nobody is told"}))
        mosquitto.send(f"{topic}/collections", json.dumps(asked))
        known, unknown, all_of_them = payloads(listening.lines())
    assert (known["known"], known["name"], known["correlation_id"]) == (True, "genomes", "c")
    assert (unknown["known"], unknown["nearest"], unknown["hops"]) == (False, "genomes", 1)
    assert all_of_them["site:project"] == 1


@pytest.mark.parametrize(
    ("document", "code", "said"),
    [
        ({"project": "genomes"}, 0, ""),
        ({"project": "genoms"}, 2, "project = 'genoms' is no term of site:project; did you mean"),
        ([{"project": "genome"}, {"kind": 3}], 2, "[1]: kind = '3' is no term of site:project"),
        ({"project": {"a": 1}}, 2, "holds no message"),
    ],
)
def test_a_file_is_checked_without_a_broker(
    tmp_path: Path, document: object, code: int, said: str
) -> None:
    terms = Terms(tmp_path, "mqtt://127.0.0.1:1", "tesp")
    file = tmp_path / "message.json"
    file.write_text(json.dumps(document))
    done = agent(tmp_path, "vocabulary", "--check", file, **terms.settings)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_the_terms_and_the_rule_of_the_document_are_kept(tmp_path: Path) -> None:
    (tmp_path / "terms").mkdir()
    (tmp_path / "terms" / "site.toml").write_text(documented("terms"))
    block = tomllib.loads(documented("vocabulary", terms=tmp_path / "terms"))["default"]
    file = tmp_path / "messages.json"
    file.write_text(json.dumps([{"project": one} for one in ("run-7", "genome", "run-x")]))
    done = agent(tmp_path, "vocabulary", "--check", file, "-t", "tesp/lab/a/status", **block)
    assert (done.returncode, done.stdout.count("is no term")) == (2, 1), done.stderr
    assert "[2]: project = 'run-x'" in done.stdout
    other = agent(tmp_path, "vocabulary", "--check", file, "-t", "elsewhere", **block)
    assert "there is none that these messages could break" in other.stderr


def test_a_rule_about_terms_that_are_not_there_stops_the_start(tmp_path: Path) -> None:
    terms = Terms(tmp_path, "mqtt://127.0.0.1:1", "tesp")
    terms.settings["vocabulary"]["rules"][0]["collection"] = "site:nothing"  # type: ignore[index]
    done = agent(tmp_path, "vocabulary", **terms.settings)
    assert (done.returncode, "there is no site:nothing" in done.stderr) == (2, True)
