"""Tasks that mean harm are refused or harmless: nothing of the host is read or left."""

from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import IMAGE
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer


@pytest.fixture(params=["sandbox", "docker"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> TespServer:
    if request.param == "sandbox":
        return start_server()
    return start_server(**request.getfixturevalue("docker_settings"))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text("the host's own\n")
    return file


def shell(script: str, **fields: Any) -> Document:
    return {"image": IMAGE, "command": ["sh", "-c", script], **fields}


def output(files: Path, path: str = "/o/x") -> Document:
    return {"path": path, "url": f"file://{files}/x"}


def test_a_link_out_of_the_output_directory_is_not_followed(
    server: TespServer, files: Path, secret: Path
) -> None:
    task = server.run({"outputs": [output(files)], "executors": [shell(f"ln -s {secret} /o/x")]})
    assert task["state"] == "SYSTEM_ERROR", task
    assert not (files / "x").exists()
    assert "/o/x" in " ".join(task["logs"][0]["system_logs"])


def test_a_directory_linked_out_is_not_followed(
    server: TespServer, files: Path, secret: Path
) -> None:
    script = f"ln -s {secret.parent} /o/d; echo fine >/o/fine"
    directory = {"path": "/o", "url": f"file://{files}/o", "type": "DIRECTORY"}
    task = server.run({"outputs": [directory], "executors": [shell(script)]})
    assert task["state"] in ("SYSTEM_ERROR", "COMPLETE"), task
    assert not list(files.rglob("secret"))


def test_a_fifo_as_an_output_does_not_hang(server: TespServer, files: Path) -> None:
    task = server.run({"outputs": [output(files)], "executors": [shell("mkfifo /o/x")]})
    assert task["state"] == "SYSTEM_ERROR", task
    assert not (files / "x").exists()


def test_stdout_is_not_written_through_a_link(
    server: TespServer, files: Path, secret: Path
) -> None:
    task = server.run(
        {
            "volumes": ["/o"],
            "executors": [
                shell(f"ln -s {secret} /o/log"),
                shell("echo overwritten", stdout="/o/log"),
            ],
        }
    )
    assert secret.read_text() == "the host's own\n"
    assert task["state"] in ("SYSTEM_ERROR", "EXECUTOR_ERROR", "COMPLETE"), task


def test_an_image_that_looks_like_an_option_is_refused(server: TespServer) -> None:
    task = {"executors": [{"image": "--privileged", "command": ["true"]}]}
    answer = server.client.post("/tasks", json=task)
    assert answer.status_code == 400
    assert "executors[0].image" in answer.text


@pytest.mark.parametrize("path", ["/usr/x", "/etc/passwd", "/x", "/proc/1/mem", "/dev/sda"])
def test_an_output_in_a_system_directory_is_refused(
    server: TespServer, files: Path, path: str
) -> None:
    task = {"outputs": [output(files, path)], "executors": [shell("true")]}
    answer = server.client.post("/tasks", json=task)
    assert answer.status_code == 400
    assert "outputs[0].path" in answer.text


@pytest.mark.parametrize("name", ["a:b", "a,b", "a'b\"c", "a\nb", "a b", "$(touch x)", "-rf", "ü"])
def test_awkward_names_are_only_names(server: TespServer, files: Path, name: str) -> None:
    task = server.run(
        {
            "inputs": [
                {"path": f"/in/{name}", "content": "1"},
                {"path": f"/o/{name}/in", "content": "2"},
            ],
            "outputs": [{"path": f"/o/{name}/out", "url": f"file://{files}/x"}],
            "executors": [
                {
                    "image": IMAGE,
                    "command": [
                        "sh",
                        "-c",
                        'cat "$0" "$1" >"$2"',
                        f"/in/{name}",
                        f"/o/{name}/in",
                        f"/o/{name}/out",
                    ],
                    "workdir": f"/o/{name}",
                    "stderr": f"/o/{name}/err",
                    "env": {"NAME": name},
                }
            ],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "x").read_text() == "12"
    assert server.leftovers() == []


def test_an_input_inside_an_output_directory_is_a_real_file(
    server: TespServer, files: Path
) -> None:
    task = server.run(
        {
            "inputs": [{"path": "/o/in", "content": "12"}],
            "outputs": [{"path": "/o", "url": f"file://{files}/o", "type": "DIRECTORY"}],
            "executors": [shell("mv /o/in /o/moved")],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (files / "o/moved").read_text() == "12"
    assert not (files / "o/in").exists()


def test_a_read_only_input_cannot_be_changed(server: TespServer, files: Path) -> None:
    task = server.run(
        {
            "inputs": [{"path": "/in/a", "content": "1"}],
            "executors": [shell("echo 2 >/in/a")],
        }
    )
    assert task["state"] == "EXECUTOR_ERROR", task


def test_a_url_out_of_the_roots_is_refused(server: TespServer, files: Path, secret: Path) -> None:
    for url in (f"file://{secret}", str(secret), f"file://{files}/../secret"):
        task = {"inputs": [{"path": "/in", "url": url}], "executors": [shell("cat /in")]}
        answer = server.client.post("/tasks", json=task)
        assert answer.status_code == 400, answer.text
        assert "inputs[0].url" in answer.text


def test_a_link_out_of_a_root_is_not_followed(
    server: TespServer, files: Path, secret: Path
) -> None:
    (files / "link").symlink_to(secret)
    (files / "directory").symlink_to(secret.parent)
    for url in (f"file://{files}/link", f"file://{files}/directory/secret"):
        task = {"inputs": [{"path": "/in", "url": url}], "executors": [shell("cat /in")]}
        answer = server.client.post("/tasks", json=task)
        if answer.status_code == 200:
            ended = server.wait(answer.json()["id"])
            assert ended["state"] == "SYSTEM_ERROR", ended
        else:
            assert answer.status_code == 400


def test_the_sandbox_shows_nothing_of_the_host_but_its_programs(
    start_server: StartServer, secret: Path
) -> None:
    server = start_server()
    script = f"cat /etc/shadow; ls {secret}; ls /root; touch /usr/x; echo checked"
    task = server.run({"executors": [{"image": "i", "command": ["bash", "-c", script]}]})
    assert task["state"] == "COMPLETE", task
    assert task["logs"][0]["logs"][0]["stdout"] == "checked\n"
    assert not Path("/usr/x").exists()


def test_ten_megabytes_of_output_keep_only_their_end(server: TespServer) -> None:
    script = "head -c 10000000 /dev/zero | tr '\\0' x; echo END"
    task = server.run({"executors": [shell(script)]})
    assert task["state"] == "COMPLETE", task
    stdout = task["logs"][0]["logs"][0]["stdout"]
    assert stdout.endswith("xEND\n")
    assert len(stdout) <= 65536
