"""`tesp serve` as an operator meets it: what it says, and what it refuses to start with."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers.room import free_port, wait_until
from tests.peers.server_fixtures import StartServer

_PROGRAM = Path(sys.executable).with_name("tesp")


def serve(directory: Path, *flags: str | Path) -> subprocess.CompletedProcess[str]:
    """A start that is to fail."""
    return subprocess.run(
        [_PROGRAM, "serve", "--data", directory / "data", *flags],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_commands_of_the_banner_work_as_they_stand(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server()
    # It answers a moment before it says so.
    wait_until(lambda: "Ctrl-C" in server.log.read_text(), "the banner")
    said = server.log.read_text()
    assert server.url in said
    assert str(server.data) in said
    assert "NOT IN CONTAINERS" in said
    commands = said[said.index("  id=") : said.index("Ctrl-C")]
    done = subprocess.run(["sh", "-c", commands], capture_output=True, text=True, check=True)
    task = json.loads(done.stdout)
    assert server.wait(task["id"])["logs"][0]["logs"][0]["stdout"] == "hello\n"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_service_open_to_all_must_be_meant(tmp_path: Path, host: str) -> None:
    done = serve(tmp_path, "--host", host, "--port", str(free_port()))
    assert done.returncode == 2
    assert "server.allow_open = true" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_flag_that_can_never_work_is_named_as_the_setting_that_it_is(tmp_path: Path) -> None:
    done = serve(tmp_path, "--host", "http://here")
    assert done.returncode != 0
    assert "tesp: server.host: this is no host" in done.stderr


def test_a_service_open_to_all_starts_where_it_is_meant(start_server: StartServer) -> None:
    server = start_server(server={"host": "0.0.0.0", "allow_open": True})
    assert server.client.get("/service-info").status_code == 200


def test_a_wrong_setting_is_named_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default.server]\nprot = 1\n")
    done = serve(tmp_path)
    assert done.returncode == 2
    assert "server.prot: no such setting; did you mean port?" in done.stderr


@pytest.mark.parametrize("command", ["serve", "doctor"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("basic_auth.enable = true", "basic_auth.enable: this version does not check user names"),
        ("oauth.enable = true", "oauth.enable: this version does not check bearer tokens"),
    ],
)
def test_a_protection_that_is_not_there_stops_the_start(
    tmp_path: Path, command: str, text: str, said: str
) -> None:
    (tmp_path / "settings.toml").write_text(f"[default]\n{text}\n")
    argv = [_PROGRAM, command, "--data", tmp_path / "data"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not (tmp_path / "data").exists()


def test_a_profile_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[default]\n[cluster]\n")
    environ = {**os.environ, "FASTAPI_PROFILE": "claster"}
    argv = [_PROGRAM, "serve", "--data", tmp_path / "data"]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there are: cluster, default" in " ".join(done.stderr.split())


def test_the_settings_of_the_tesp_api_start_a_service_as_they_stand(
    start_server: StartServer, mongodb_uri: str, mongodb_database: str
) -> None:
    legacy = {
        "db": {"mongodb_uri": mongodb_uri},
        "store": {"database": mongodb_database},
        "basic_auth": {"enable": False, "username": "user", "password": "password"},
        "oauth": {"enable": False},
        "logging": {"level": "debug", "output_json": True},
    }
    server = start_server(**legacy)
    assert server.client.get("/service-info").status_code == 200
    assert not (server.data / "tesp.db").exists()
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert "INFO" in {json.loads(line)["level"] for line in lines}


def test_variables_of_the_command_line_are_no_settings(tmp_path: Path) -> None:
    environ = {**os.environ, "TESP_URL": "http://h", "TESP_TOKEN": "t", "TESP_USER": "u"}
    done = subprocess.run(
        [_PROGRAM, "doctor", "--json", "--data", tmp_path],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout)


def test_a_second_service_on_the_same_data_is_refused(start_server: StartServer) -> None:
    first = start_server()
    flags = ["--data", first.data, "--allow-sandbox", "--port", str(free_port())]
    done = serve(first.directory, *flags)
    assert done.returncode != 0
    assert "in use by another process" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(tmp_path, "--port", port, "--allow-sandbox")
    assert done.returncode != 0
    assert port in done.stderr
    assert "Traceback" not in done.stderr


def test_roles_need_a_store_that_they_can_share(tmp_path: Path) -> None:
    done = serve(tmp_path, "--role", "api", "--port", str(free_port()))
    assert done.returncode == 2
    assert "store.kind = mongodb" in done.stderr


def test_who_comes_during_a_restart_waits_where_the_socket_is_kept_open(
    start_server: StartServer,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = start_server(listener=listener)
        server.kill()
        with socket.create_connection(("127.0.0.1", server.port), 30) as early:
            early.sendall(b"GET /ga4gh/tes/v1/service-info HTTP/1.0\r\n\r\n")
            server.start()
            assert b" 200 OK" in early.recv(65536)


@pytest.mark.parametrize(
    ("place", "complaint"),
    [("0.0.0.0", "can be reached from other machines"), ("", "give one TCP socket")],
)
def test_a_socket_that_is_handed_over_is_judged_like_an_address(
    tmp_path: Path, place: str, complaint: str
) -> None:
    path = str(tmp_path / "socket")
    family = socket.AF_INET if place else socket.AF_UNIX
    with socket.create_server((place, 0) if place else path, family=family) as listener:
        script = 'exec 3<&"$0"; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        done = subprocess.run(
            ["bash", "-c", script, str(listener.fileno()), _PROGRAM, "serve", "--data", tmp_path],
            pass_fds=[listener.fileno()],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode != 0
    assert complaint in " ".join(done.stderr.split())
