"""`tesp doctor` on real runtimes, stores and storage, those that work and those that do not."""

import json
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from tests.peers.certificates import Certificate
from tests.peers.docker_engine import DockerEngine
from tests.peers.doctor import Doctor, entries, verdicts
from tests.peers.ftp_server import FtpServer
from tests.peers.gate import Gate
from tests.peers.room import free_port
from tests.peers.swift import SwiftS3


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def test_runtimes_that_are_not_installed_come_with_the_way_to_get_them(doctor: Doctor) -> None:
    _, found = doctor.examine()
    kinds = [f"runtime {k}" for k in ("docker", "podman", "apptainer", "singularity")]
    assert verdicts(found, kinds) == dict.fromkeys(kinds, "none")
    assert "apt-get install podman" in found["runtime podman"]["mend"]


def test_no_runtime_for_the_local_backend_fails(doctor: Doctor) -> None:
    code, found = doctor.examine(local__enabled="true")
    assert code == 6
    assert found["local backend"]["verdict"] == "fail"
    assert "--allow-sandbox" in found["local backend"]["mend"]


def test_the_sandbox_is_taken_only_where_it_is_allowed_and_with_a_warning(doctor: Doctor) -> None:
    doctor.has("bwrap")
    code, found = doctor.examine("--allow-sandbox", local__enabled="true")
    assert code == 0
    assert found["runtime sandbox"]["verdict"] == "ok"
    assert found["local backend"]["verdict"] == "warn"
    assert "sandbox" in found["local backend"]["found"]


def test_a_sandbox_that_the_kernel_forbids_is_told_in_its_own_words(doctor: Doctor) -> None:
    program = doctor.programs / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create namespace' >&2; exit 1\n")
    program.chmod(0o755)
    code, found = doctor.examine("--allow-sandbox", local__enabled="true")
    assert code == 6
    assert "No permissions to create namespace" in found["runtime sandbox"]["mend"]
    assert found["local backend"]["verdict"] == "fail"


def test_docker_with_its_daemon_runs_the_tasks(doctor: Doctor, docker_engine: DockerEngine) -> None:
    doctor.has("docker", "bwrap")
    code, found = doctor.examine(
        "--allow-sandbox", local__enabled="true", containers__docker_host=docker_engine.host
    )
    assert code == 0
    version = docker_engine.cli("version", "--format", "{{.Server.Version}}")
    assert version in found["runtime docker"]["found"]
    assert found["local backend"]["found"] == "tasks run with docker"


def test_docker_without_its_daemon_is_no_runtime(doctor: Doctor) -> None:
    doctor.has("docker")
    code, found = doctor.examine(local__enabled="true", local__runtime="docker")
    assert code == 6
    assert Doctor.NOWHERE in found["runtime docker"]["mend"]
    assert found["local backend"]["verdict"] == "fail"


def test_a_runner_without_an_interpreter_fails(doctor: Doctor) -> None:
    code, found = doctor.examine(local__python="/nowhere/python3")
    assert code == 6
    assert "local.python" in found["python of the runner"]["mend"]


def test_a_port_that_another_has_is_a_warning(doctor: Doctor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, found = doctor.examine(server__port=str(port))
    assert code == 0
    assert found[f"port 127.0.0.1:{port}"]["verdict"] == "warn"


def test_the_certificate_of_https_is_looked_at(doctor: Doctor, tmp_path: Path) -> None:
    _, found = doctor.examine()
    assert "server certificate" not in found
    for place, days, verdict in (("a", 30, "ok"), ("b", 10, "warn")):
        (tmp_path / place).mkdir()
        made = Certificate.make(tmp_path / place, timedelta(days=days))
        code, found = doctor.examine(server__certificate=str(made.path))
        assert (code, found["server certificate"]["verdict"]) == (0, verdict)
    code, found = doctor.examine(server__certificate="/nowhere")
    assert (code, found["server certificate"]["verdict"]) == (6, "fail")
    assert "server.certificate" in found["server certificate"]["mend"]


def test_a_data_directory_that_cannot_be_one_fails(doctor: Doctor) -> None:
    doctor.data.write_text("a file")
    code, found = doctor.examine()
    assert code == 6
    assert found["data directory"]["verdict"] == "fail"


def test_a_data_directory_to_be_made_is_well_and_is_not_made(doctor: Doctor) -> None:
    code, found = doctor.examine()
    assert code == 0
    names = ["data directory", "disk", "store sqlite", f"files {doctor.data}/files"]
    assert verdicts(found, names) == dict.fromkeys(names, "ok")
    assert not doctor.data.exists()


def test_a_file_root_that_is_missing_fails(doctor: Doctor, tmp_path: Path) -> None:
    roots = entries({"path": str(tmp_path)}, {"path": "/nowhere/at/all"})
    code, found = doctor.examine(staging__files=roots)
    assert code == 6
    assert found[f"files {tmp_path}"]["verdict"] == "ok"
    assert found["files /nowhere/at/all"]["verdict"] == "fail"


def test_mongodb_is_asked(doctor: Doctor, mongodb_uri: str) -> None:
    code, found = doctor.examine(store__kind="mongodb", store__mongodb_uri=mongodb_uri)
    assert found["store mongodb"]["verdict"] == "ok"
    assert found["replica set"]["verdict"] in ("ok", "warn")
    assert code == 0


def test_a_mongodb_that_is_not_there_fails_without_its_password(doctor: Doctor) -> None:
    uri = f"mongodb://alice:sesame@127.0.0.1:{free_port()}"
    code, found = doctor.examine(store__kind="mongodb", store__mongodb_uri=uri)
    assert code == 6
    assert found["store mongodb"]["verdict"] == "fail"
    assert "sesame" not in json.dumps(found)


def test_s3_keys_are_tried_and_never_shown(doctor: Doctor, swift_s3: SwiftS3) -> None:
    right = {
        "endpoint": swift_s3.endpoint,
        "access_key": swift_s3.access_key,
        "secret_key": swift_s3.secret_key,
        "region": swift_s3.region,
    }
    bucket = swift_s3.create_bucket("doctor-looks")
    wrong = {**right, "secret_key": "a-wrong-secret"}
    nobody = {**right, "endpoint": f"http://127.0.0.1:{free_port()}"}
    code, found = doctor.examine(
        staging__s3=entries(
            {**right, "bucket": "*"},
            {**right, "bucket": bucket},
            {**right, "bucket": "doctor-misses"},
            {**wrong, "bucket": "wrong-key"},
            {**nobody, "bucket": "nobody-there"},
        )
    )
    assert code == 6
    seen = {name.split()[1]: f["verdict"] for name, f in found.items() if name.startswith("s3 ")}
    assert seen == {
        "*": "ok",
        bucket: "ok",
        "doctor-misses": "fail",
        "wrong-key": "fail",
        "nobody-there": "warn",
    }
    assert "a-wrong-secret" not in json.dumps(found)
    assert swift_s3.secret_key not in json.dumps(found)


def test_a_wrong_s3_key_for_all_buckets_fails(doctor: Doctor, swift_s3: SwiftS3) -> None:
    wrong = {"endpoint": swift_s3.endpoint, "access_key": "who", "secret_key": "a-wrong-secret"}
    code, found = doctor.examine(staging__s3=entries(wrong))
    assert code == 6
    assert "secret_key" in found[f"s3 * at {swift_s3.endpoint}"]["mend"]


def test_ftp_logins_are_tried(doctor: Doctor, tmp_path: Path) -> None:
    with FtpServer(tmp_path, "alice", "sesame") as ftp:
        host = f"127.0.0.1:{ftp.port}"
        right = {"host": host, "username": "alice", "password": "sesame"}
        assert doctor.examine(staging__ftp=entries(right))[0] == 0
        code, found = doctor.examine(staging__ftp=entries({**right, "password": "guess"}))
    assert code == 6
    assert "refused" in found[f"ftp {host}"]["found"]


def test_http_hosts_are_connected_to(doctor: Doctor, gate: Gate) -> None:
    there, gone = f"127.0.0.1:{gate.port}", f"127.0.0.1:{free_port()}"
    code, found = doctor.examine(staging__http=entries({"host": there}, {"host": gone}))
    assert code == 0
    assert found[f"http {there}"]["verdict"] == "ok"
    assert found[f"http {gone}"]["verdict"] == "warn"
    assert found[f"http {gone}"]["found"]
