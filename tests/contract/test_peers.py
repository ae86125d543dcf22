"""The peers of the tests are what they claim to be."""

import subprocess
import uuid
from pathlib import Path
from typing import Any

import obstore
import pymongo
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pymongo import AsyncMongoClient, WriteConcern

from tests.peers.docker_engine import DockerEngine
from tests.peers.docker_registry import DockerRegistry, OpenRegistry
from tests.peers.room import PeerError, Room, answers, free_port
from tests.peers.swift import SwiftS3


def test_a_container_of_the_engine_runs_and_prints(docker_engine: DockerEngine) -> None:
    name = f"prints-{uuid.uuid4().hex}"
    run = ("run", "--name", name, "--network", "none", docker_engine.image)
    assert docker_engine.cli(*run, "sh", "-c", "echo hello; stat -c %a /tmp") == "hello\n1777"
    assert name in docker_engine.containers()
    docker_engine.cli("rm", name)
    assert name not in docker_engine.containers()


def test_a_container_of_the_engine_lives_within_its_memory(docker_engine: DockerEngine) -> None:
    limits = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max; true"
    run = ("run", "--rm", "--network", "none", "--memory", "64m", docker_engine.image)
    assert str(64 << 20) in docker_engine.cli(*run, "sh", "-c", limits)


def test_an_image_behind_a_password_is_pulled_with_the_right_one_only(
    docker_engine: DockerEngine, docker_registry: DockerRegistry
) -> None:
    name = f"private/{uuid.uuid4().hex}:1"
    reference = docker_registry.push(docker_engine, docker_engine.image, name)
    for config in (docker_engine.config, docker_registry.login(password="wrong")):
        assert docker_engine.cli("pull", "-q", reference, config=config, check=False) == ""
    pull = docker_engine.cli("pull", "-q", reference, config=docker_registry.login())
    assert pull == reference
    docker_engine.cli("rmi", reference)


def test_an_open_registry_asks_for_nothing(
    docker_engine: DockerEngine, open_registry: OpenRegistry
) -> None:
    name = f"{uuid.uuid4().hex}:1"
    reference = open_registry.push(docker_engine, docker_engine.image, name)
    assert docker_engine.cli("pull", "-q", reference) == reference
    docker_engine.cli("rmi", reference)


async def test_a_document_is_found_again_after_a_journaled_majority_write(
    mongodb_uri: str, mongodb_database: str
) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        durable = WriteConcern("majority", j=True)
        tasks = client[mongodb_database].get_collection("tasks", write_concern=durable)
        done = await tasks.insert_one({"name": "first"})
        assert done.acknowledged
        found = await tasks.find_one({"name": "first"})
        assert found == {"_id": done.inserted_id, "name": "first"}


def test_each_test_has_a_database_of_its_own(mongodb_uri: str, mongodb_database: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        assert mongodb_database not in client.list_database_names()


def test_swift_gives_an_object_back_to_the_right_keys_only(swift_s3: SwiftS3) -> None:
    bucket = swift_s3.create_bucket(f"keys-{uuid.uuid4().hex}")
    obstore.put(_store(swift_s3, bucket, swift_s3.secret_key), "a/b", b"hello")
    right = _store(swift_s3, bucket, swift_s3.secret_key)
    assert bytes(obstore.get(right, "a/b").bytes()) == b"hello"
    with pytest.raises(BaseError, match=r"403|SignatureDoesNotMatch"):
        obstore.get(_store(swift_s3, bucket, "wrong"), "a/b")


def _store(swift: SwiftS3, bucket: str, secret_key: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=swift.endpoint,
        region=swift.region,
        access_key_id=swift.access_key,
        secret_access_key=secret_key,
        client_options={"allow_http": True},
    )


def test_both_generations_of_py_tes_are_at_hand(pytes_old: Path, pytes_new: Path) -> None:
    program = "import tes, importlib.metadata as m; print(m.version('py-tes'), tes.HTTPClient)"
    versions = [
        subprocess.run([python, "-c", program], capture_output=True, check=True, text=True).stdout
        for python in (pytes_old, pytes_new)
    ]
    assert [v.split()[0] for v in versions] == ["0.4.2", "1.1.4"]


def test_a_peer_that_ends_at_once_is_reported_with_its_log() -> None:
    with Room.temporary() as room:
        room.start("short", ["sh", "-c", "echo no such disk; exit 3"])
        with pytest.raises(PeerError, match="no such disk"):
            room.wait_until(lambda: False, "short answers")


def test_a_peer_ends_with_its_room() -> None:
    port = free_port()
    with Room.temporary() as room:
        room.start("http", ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"])
        room.wait_until(lambda: answers(port), "the server answers")
    assert not answers(port)
    assert not room.directory.exists()


def test_a_peer_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    port = free_port()
    owner = subprocess.Popen(["sleep", "600"])
    room = Room(tmp_path / "orphan", owner.pid)
    room.start("http", ["python3", "-m", "http.server", str(port), "--bind", "127.0.0.1"])
    room.wait_until(lambda: answers(port), "the server answers")
    owner.kill()
    owner.wait()
    room.wait_until_ended()
    assert not answers(port)


def test_an_engine_leaves_no_mount_and_no_container_behind() -> None:
    with Room.temporary() as room:
        engine = DockerEngine.boot(room)
        engine.cli("run", "--detach", "--network", "host", engine.image, "sleep", "600")
    assert str(room.directory) not in Path("/proc/self/mounts").read_text()
    assert not room.directory.exists()
