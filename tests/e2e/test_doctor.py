"""`tesp doctor` on real runtimes, stores and storage, those that work and those that do not."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.ftp_server import FtpServer
from tests.peers.gate import Gate
from tests.peers.http_server import HttpServer
from tests.peers.pulsar import TOKEN, PulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, free_port
from tests.peers.server_fixtures import StartServer
from tests.peers.swift import SwiftS3

_PROGRAM = Path(sys.executable).with_name("tesp")
_NOWHERE = "unix:///nowhere/docker.sock"

Finding = dict[str, str]


class Doctor:
    """The program in a directory of its own; `said` holds the findings by what was looked at."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.programs = directory / "bin"
        self.programs.mkdir()
        self._directory = directory

    def has(self, *names: str) -> None:
        """Put programs of this machine on the doctor's PATH, which is empty otherwise."""
        for name in names:
            path = shutil.which(name)
            assert path, name
            (self.programs / name).symlink_to(path)

    def examine(self, *flags: str, **variables: str) -> tuple[int, dict[str, Finding]]:
        """Exit code, and the findings."""
        environ = {k: v for k, v in os.environ.items() if k != "DOCKER_HOST"}
        settings = {f"TESP_{name.upper()}": value for name, value in variables.items()}
        done = subprocess.run(
            [_PROGRAM, "doctor", "--json", "--data", self.data, *flags],
            env={**environ, **_quiet(), **settings, "PATH": str(self.programs)},
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "", done.stderr
        return done.returncode, {f["check"]: f for f in json.loads(done.stdout)}


def _quiet() -> dict[str, str]:
    """Settings under which only what a test is about can fail."""
    return {
        "TESP_SERVER__PORT": str(free_port()),
        "TESP_CONTAINERS__DOCKER_HOST": _NOWHERE,
        "TESP_LOCAL__ENABLED": "false",
    }


def entries(*given: dict[str, Any]) -> str:
    """An array of tables, as the value of a variable."""
    tables = ("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in t.items()) + "}" for t in given)
    return f"[{', '.join(tables)}]"


def verdicts(found: dict[str, Finding], names: Iterable[str]) -> dict[str, str]:
    return {name: found[name]["verdict"] for name in names}


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
    assert _NOWHERE in found["runtime docker"]["mend"]
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


_QUEUED = {"type": "queued_python"}


@pytest.fixture(scope="module")
def pulsar(rabbitmq: RabbitmqServer) -> Iterator[PulsarServer]:
    """A Pulsar over REST and AMQP, with a manager and so with queues of its own names."""
    with Room.temporary() as room:
        app = {"managers": {"doctor": _QUEUED}, "message_queue_url": rabbitmq.url}
        yield PulsarServer.made(room, **app).started()


def over_rest(pulsar: PulsarServer, **keys: Any) -> dict[str, Any]:
    manager = {} if "classes" in keys else {"manager": "doctor"}
    return {"name": "site", "url": pulsar.url, "token": pulsar.token, **manager, **keys}


def test_a_pulsar_that_takes_our_token_is_well(doctor: Doctor, pulsar: PulsarServer) -> None:
    code, found = doctor.examine(pulsars=entries(over_rest(pulsar)))
    assert code == 0
    assert found["pulsar site"]["verdict"] == "ok"
    assert found["pulsar site"]["found"] == f"{pulsar.url}, version 0.16.0"
    assert "public url" not in found


def test_a_wrong_token_is_named_by_its_key_and_not_shown(
    doctor: Doctor, pulsar: PulsarServer
) -> None:
    right, wrong = over_rest(pulsar), over_rest(pulsar, name="other", token="a-wrong-secret")
    code, found = doctor.examine(pulsars=entries(right, wrong))
    assert code == 6
    assert found["pulsar site"]["verdict"] == "ok"
    assert found["pulsar other"]["verdict"] == "fail"
    assert "pulsars.1.token (TESP_PULSARS__1__TOKEN)" in found["pulsar other"]["mend"]
    assert "a-wrong-secret" not in json.dumps(found)
    assert TOKEN not in json.dumps(found)


def test_a_manager_that_the_pulsar_does_not_have_is_named(
    doctor: Doctor, pulsar: PulsarServer
) -> None:
    sizes = [{"manager": m, "cpus": 1, "ram_gb": 1} for m in ("doctor", "nobody")]
    code, found = doctor.examine(pulsars=json.dumps([over_rest(pulsar, classes=sizes)]))
    assert code == 6
    assert "no manager nobody" in found["pulsar site"]["found"]
    assert "pulsars.0.classes" in found["pulsar site"]["mend"]


def test_a_pulsar_that_is_not_there_fails(doctor: Doctor) -> None:
    code, found = doctor.examine(
        pulsars=entries({"name": "gone", "url": f"http://127.0.0.1:{free_port()}"})
    )
    assert code == 6
    assert "cannot be reached" in found["pulsar gone"]["found"]
    assert "pulsars.0.url" in found["pulsar gone"]["mend"]


def test_another_server_is_not_taken_for_a_pulsar(doctor: Doctor, http_server: HttpServer) -> None:
    code, found = doctor.examine(pulsars=entries({"name": "web", "url": http_server.url}))
    assert code == 6
    assert "no Pulsar" in found["pulsar web"]["found"]


def over_amqp(url: str, **keys: Any) -> dict[str, Any]:
    return {"name": "site", "amqp_url": url, **keys}


def test_a_pulsar_that_listens_to_its_broker_is_well(
    doctor: Doctor, pulsar: PulsarServer, rabbitmq: RabbitmqServer
) -> None:
    both = over_rest(pulsar, amqp_url=rabbitmq.url)
    code, found = doctor.examine(pulsars=entries(both))
    names = ["pulsar site", "broker of site", "pulsar site over AMQP"]
    assert verdicts(found, names) == dict.fromkeys(names, "ok")
    assert code == 0


def test_a_queue_that_nobody_listens_to_is_named(doctor: Doctor, rabbitmq: RabbitmqServer) -> None:
    code, found = doctor.examine(pulsars=entries(over_amqp(rabbitmq.url, manager="nobody")))
    assert code == 6
    assert found["broker of site"]["verdict"] == "ok"
    assert "pulsar_nobody__setup" in found["pulsar site over AMQP"]["found"]
    assert "message_queue_url" in found["pulsar site over AMQP"]["mend"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("guest:a-wrong-secret@127.0.0.1:{port}//", "the login of guest is refused"),
        ("guest:guest@127.0.0.1:{port}/elsewhere", "no entry to the virtual host elsewhere"),
        ("guest:guest@127.0.0.1:1//", "127.0.0.1 cannot be reached"),
    ],
)
def test_a_broker_that_does_not_let_us_in_is_told_why(
    doctor: Doctor, rabbitmq: RabbitmqServer, place: str, said: str
) -> None:
    url = "amqp://" + place.format(port=rabbitmq.port)
    code, found = doctor.examine(pulsars=entries(over_amqp(url)))
    assert code == 6
    assert said in found["broker of site"]["found"]
    assert "pulsars.0.amqp_url" in found["broker of site"]["mend"]
    assert "a-wrong-secret" not in json.dumps(found)


def test_who_fetches_files_from_us_must_reach_us(
    doctor: Doctor, start_server: StartServer, http_server: HttpServer
) -> None:
    node = entries({"name": "site", "url": f"http://127.0.0.1:{free_port()}", "staging": "node"})
    _, found = doctor.examine(pulsars=node)
    assert found["public url"]["verdict"] == "warn"
    assert "server.public_url" in found["public url"]["mend"]
    for url, verdict in (
        (start_server().url, "ok"),
        (f"http://127.0.0.1:{free_port()}", "warn"),
        (http_server.url, "warn"),
    ):
        _, found = doctor.examine(pulsars=node, server__public_url=url)
        assert found["public url"]["verdict"] == verdict, url
