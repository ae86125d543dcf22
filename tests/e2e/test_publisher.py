"""Outputs of finished tasks are published once, whatever ends the publisher or the storage."""

import hashlib
import json
import tomllib
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bus.harness import Site
from tests.peers.agent_programs import (
    HOSTILE,
    AgentProgram,
    agent,
    agent_program,
    documented,
    payloads,
)
from tests.peers.ftp_server import FtpServer
from tests.peers.gate import Gate
from tests.peers.mosquitto import Listening, MosquittoServer
from tests.peers.room import wait_until
from tests.peers.s3_server import S3Server
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

RULE = {"name": "genomes", "tag": "project", "value": "genomes", "outputs": "*.txt"}


def task(files: Path, *names: str, **more: Any) -> dict[str, Any]:
    command = "; ".join(f"echo {name} of $0 >/out/{name}" for name in names)
    return {
        "name": "align",
        "tags": {"project": "genomes"},
        "executors": [{"image": "i", "command": ["bash", "-c", command]}],
        "outputs": [
            {"path": f"/out/{name}", "url": f"file://{files}/{uuid.uuid4().hex}/{name}"}
            for name in names
        ],
        **more,
    }


def settings(server: TespServer, bus: dict[str, Any], to: str, **more: Any) -> dict[str, Any]:
    """Of a publisher beside a server."""
    rule = {**RULE, "to": to, **more.pop("rule", {})}
    publisher = {"url": server.url, "retry_seconds": 0.1, "rules": [rule], **more}
    files = [{"path": server.directory.parent / "files"}]
    data = {"data_dir": server.directory.parent / "agent", "bus": bus}
    return {"publisher": publisher, "staging": {"files": files}, **data}


@dataclass(frozen=True)
class Scene:
    """A server and its broker, for a publisher that writes below a directory of theirs."""

    server: TespServer
    mosquitto: MosquittoServer
    bus: dict[str, Any]
    files: Path

    @property
    def published(self) -> Path:
        """Where that is, unless it is told otherwise."""
        return self.files / "published"

    def settings(self, to: str | None = None, **more: Any) -> dict[str, Any]:
        """Of the publisher."""
        return settings(self.server, self.bus, to or f"file://{self.published}", **more)

    def publishing(self, own: dict[str, Any] | None = None) -> AbstractContextManager[AgentProgram]:
        """The publisher, with settings of its own or the plain ones."""
        directory = self.server.directory.parent / "p"
        return agent_program(directory, "publisher", **(own or self.settings()))

    def listening(self, count: int) -> AbstractContextManager[Listening]:
        """What is told of publications."""
        return self.mosquitto.listening("tesp/infrastructure/publications/+/status", count)

    def say(self, payload: dict[str, Any]) -> None:
        """Something about a task, as anybody may."""
        self.mosquitto.send("tesp/infrastructure/pipelines/align/status", json.dumps(payload))


def ready(program: AgentProgram) -> None:
    program.wait_for_log("publisher listens to")


def tree(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def own_bus(own_mosquitto: MosquittoServer) -> dict[str, Any]:
    return {"brokers": [{"name": "site", "url": own_mosquitto.url}]}


@pytest.fixture
def scene(
    start_server: StartServer,
    own_mosquitto: MosquittoServer,
    own_bus: dict[str, Any],
    files: Path,
) -> Scene:
    return Scene(start_server(bus=own_bus), own_mosquitto, own_bus, files)


async def test_what_matches_is_copied_listed_and_told_over_both_kinds_of_broker(
    start_server: StartServer, there: Site, files: Path, tmp_path: Path
) -> None:
    assert there.settings
    broker = {"name": "site", "url": there.settings.url}
    bus = {"prefix": there.root, "brokers": [broker]}
    server = start_server(bus=bus)
    published = files / "published"
    own = settings(server, bus, f"file://{published}")
    topic = f"{there.root}/infrastructure/publications/+/status"
    with agent_program(tmp_path / "p", "publisher", **own) as program:
        ready(program)
        async with there.opened() as heard, heard.subscribe(topic) as deliveries:
            await there.send_raw("infrastructure/pipelines/align/status", *HOSTILE)
            headers = {"X-Correlation-ID": "night-1", "Tesp-Hops": "3"}
            body = task(files, "a.txt", "b.bam", "c.txt")
            done = server.wait(server.submit(body, **headers))
            told = (await anext(deliveries)).message
        assert program.stop() == 0
    directory = published / "genomes" / done["id"]
    assert tree(published) == {
        f"genomes/{done['id']}/{name}" for name in ("out/a.txt", "out/c.txt", "manifest.json")
    }
    listed = json.loads((directory / "manifest.json").read_text())
    assert (listed["task"], listed["correlation_id"]) == (done["id"], "night-1")
    assert {one["path"] for one in listed["files"]} == {"/out/a.txt", "/out/c.txt"}
    for one in listed["files"]:
        content = (directory / one["path"].lstrip("/")).read_bytes()
        assert one["url"] == f"file://{directory}{one['path']}"
        assert (one["size"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert (told.payload["status"], told.payload["manifest"], told.payload["files"]) == (
        "finished",
        f"file://{directory}/manifest.json",
        2,
    )
    assert (told.correlation, told.hops) == ("night-1", 4)


def test_a_task_of_others_is_left_alone_and_one_that_came_while_nobody_listened_is_published(
    scene: Scene,
) -> None:
    with scene.publishing() as program:
        ready(program)
        assert program.stop() == 0
    # The broker keeps it for the publisher, who is not there.
    scene.server.run(task(scene.files, "other.txt", tags={"project": "other"}))
    missed = scene.server.run(task(scene.files, "a.txt"))["id"]
    with (
        scene.listening(1) as listening,
        scene.publishing(),
    ):
        (told,) = payloads(listening.lines())
    assert told["task"] == missed
    assert tree(scene.published) == {
        f"genomes/{missed}/out/a.txt",
        f"genomes/{missed}/manifest.json",
    }


def test_a_message_that_comes_again_and_a_restart_publish_once(scene: Scene) -> None:
    with scene.listening(2) as listening:
        with scene.publishing() as program:
            ready(program)
            first = scene.server.run(task(scene.files, "a.txt"))["id"]
            program.wait_for_log("files are published")
            program.process.kill()
        again = {"task": first, "state": "COMPLETE", "status": "finished"}
        manifest = scene.published / "genomes" / first / "manifest.json"
        written = manifest.stat().st_mtime_ns
        with scene.publishing() as program:
            ready(program)
            for number in range(3):
                scene.say({**again, "message_id": f"m{number}"})
            second = scene.server.run(task(scene.files, "a.txt"))["id"]
            told = payloads(listening.lines())
    ids = [one["message_id"] for one in told if one["task"] == first]
    # What was told before the kill may be told again, under the same id.
    assert len(set(ids)) == 1
    assert manifest.stat().st_mtime_ns == written
    assert told[-1]["task"] == second or len(ids) == 2


def test_a_copy_that_a_kill_interrupts_is_done_again_and_the_done_ones_are_not(
    scene: Scene, gate: Gate
) -> None:
    own = scene.settings(f"{gate.url}/published")
    gate.hold("/begin")
    body = task(scene.files, "a.txt", "b.txt")
    command = body["executors"][0]["command"]
    command[2] = f"{gate.knock('/begin')}; {command[2]}"
    submitted = scene.server.submit(body)
    place = f"/published/genomes/{submitted}"
    gate.hold(f"{place}/out/b.txt")
    with scene.publishing(own) as program:
        ready(program)
        gate.release("/begin")
        gate.wait_for(f"{place}/out/b.txt")
    gate.release(f"{place}/out/b.txt")
    with (
        scene.listening(1) as listening,
        scene.publishing(own),
    ):
        (told,) = payloads(listening.lines())
    assert (told["task"], told["files"]) == (submitted, 2)
    counts = [gate.arrived(f"{place}/{n}") for n in ("out/a.txt", "out/b.txt", "manifest.json")]
    assert counts == [1, 2, 1]
    listed = json.loads(gate.bodies[f"{place}/manifest.json"])["files"]
    for one in listed:
        content = gate.bodies[place + one["path"]]
        assert one["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_rule_of_the_document_publishes_also_when_the_broker_was_away(scene: Scene) -> None:
    own = scene.settings()
    block = tomllib.loads(documented("publisher", published=scene.published))
    own["publisher"]["rules"] = block["default"]["publisher"]["rules"]
    with scene.publishing(own) as program:
        ready(program)
        scene.mosquitto.stop()
        program.wait_for_log("It is tried again for ever")
        done = scene.server.run(task(scene.files, "a.txt"))["id"]
        scene.mosquitto.start()
        wanted = {f"genomes/{done}/out/a.txt", f"genomes/{done}/manifest.json"}
        wait_until(lambda: tree(scene.published) == wanted, "it is published")


def test_objects_are_published_to_s3(scene: Scene, s3_server: S3Server, s3_bucket: str) -> None:
    own = scene.settings(f"s3://{s3_bucket}/published")
    access = {"endpoint": s3_server.url, "access_key": "a-key", "secret_key": "a-secret"}
    own["staging"]["s3"] = [access]
    with (
        scene.listening(1) as listening,
        scene.publishing(own) as program,
    ):
        ready(program)
        done = scene.server.run(task(scene.files, "a.txt"))["id"]
        (told,) = payloads(listening.lines())
    client = s3_server.client()
    listed = client.list_objects_v2(Bucket=s3_bucket)["Contents"]
    beginning = f"published/genomes/{done}"
    assert {o["Key"] for o in listed} == {f"{beginning}/out/a.txt", f"{beginning}/manifest.json"}
    manifest = client.get_object(Bucket=s3_bucket, Key=f"{beginning}/manifest.json")["Body"].read()
    (one,) = json.loads(manifest)["files"]
    assert told["manifest"] == f"s3://{s3_bucket}/{beginning}/manifest.json"
    assert one["sha256"] == hashlib.sha256(b"a.txt of bash\n").hexdigest()


def test_files_are_published_to_ftp(scene: Scene, ftp_server: FtpServer) -> None:
    own = scene.settings(f"{ftp_server.url}/published")
    host = f"127.0.0.1:{ftp_server.port}"
    own["staging"]["ftp"] = [{"host": host, "username": "alice", "password": "a-password"}]
    with scene.listening(1) as listening, scene.publishing(own) as program:
        ready(program)
        done = scene.server.run(task(scene.files, "a.txt"))["id"]
        (told,) = payloads(listening.lines())
    beginning = f"published/genomes/{done}"
    assert tree(ftp_server.directory) == {f"{beginning}/out/a.txt", f"{beginning}/manifest.json"}
    assert (ftp_server.directory / beginning / "out" / "a.txt").read_text() == "a.txt of bash\n"
    assert told["manifest"] == f"{ftp_server.url}/{beginning}/manifest.json"


def test_what_fails_is_tried_again_told_after_the_last_try_and_taken_up_by_a_letter(
    scene: Scene,
) -> None:
    own = scene.settings(tries=3)
    # A file where the directory should be.
    scene.published.write_text("in the way")
    with (
        scene.listening(2) as listening,
        scene.publishing(own) as program,
    ):
        ready(program)
        done = scene.server.run(task(scene.files, "a.txt"))["id"]
        program.wait_for_log("try 3 failed")
        scene.published.unlink()
        scene.mosquitto.send("tesp/agents/publisher/publish", json.dumps({"task": done}))
        failed, finished = payloads(listening.lines())
        assert program.log.count("failed:") == 3
    assert (failed["status"], failed["tries"], failed["announce"]) == ("failed", 3, True)
    assert (finished["status"], finished["task"]) == ("finished", done)


def test_while_the_service_is_away_tasks_wait_and_lies_publish_nothing(scene: Scene) -> None:
    done = scene.server.run(task(scene.files, "a.txt"))["id"]
    failed = scene.server.run(
        task(scene.files, "b.txt", executors=[{"image": "i", "command": ["false"]}])
    )
    scene.server.stop()
    own = scene.settings(tries=1)
    with (
        scene.listening(1) as listening,
        scene.publishing(own) as program,
    ):
        ready(program)
        for task_id in (failed["id"], "nobody", "../../etc", done):
            said = {"task": task_id, "state": "COMPLETE", "status": "finished", "hops": 0}
            scene.say(said)
        looped = {"task": "loop", "state": "COMPLETE", "status": "finished", "hops": 8}
        scene.say(looped)
        program.wait_for_log("All waits")
        scene.server.start()
        (told,) = payloads(listening.lines())
        program.wait_for_log("is not published", 2)
        assert "it ends here" in program.log
        assert "names no task" in program.log
    assert (told["task"], told["status"]) == (done, "finished")
    assert {p.parts[0] for p in map(Path, tree(scene.published))} == {"genomes"}


def test_it_waits_for_a_broker_and_sigterm_ends_it_there(
    tmp_path: Path, own_mosquitto: MosquittoServer, own_bus: dict[str, Any], files: Path
) -> None:
    own_mosquitto.stop()
    rules = [{**RULE, "to": f"file://{tmp_path}/published"}]
    own = {"bus": own_bus, "publisher": {"rules": rules}}
    own["staging"] = {"files": [{"path": tmp_path}]}
    with agent_program(tmp_path / "p", "publisher", **own) as program:
        program.wait_for_log("It is tried again for ever")
        assert program.stop() == 0


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "publisher.rules: there are none"),
        ([{**RULE, "to": "file:///elsewhere/x"}], "publisher.rules.0.to: "),
        ([{**RULE, "to": "ftp://me:secret@host/x"}], "credentials do not belong"),
        ([{**RULE, "to": "s3://b/x"}, {**RULE, "name": "n", "to": "s3://b/x"}], "two of them lead"),
    ],
)
def test_rules_that_could_never_work_stop_the_start(
    tmp_path: Path, rules: list[dict[str, Any]], said: str
) -> None:
    done = agent(tmp_path, "publisher", publisher={"rules": rules})
    assert done.returncode == 2
    assert said in done.stderr
    assert "secret" not in done.stderr.replace("secrets", "")
