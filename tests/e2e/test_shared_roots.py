"""Shared file roots: seen in place, held to the root, and never touched by what cleans up."""

from pathlib import Path
from typing import Any

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import Document, TespServer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def staging(root: Path, tmp_path: Path) -> dict[str, Any]:
    shared = {"path": root, "shared": True}
    return {"files": [shared, {"path": tmp_path / "files"}], "tries": 1}


@pytest.fixture
def server(start_server: StartServer, staging: dict[str, Any]) -> TespServer:
    return start_server(staging=staging, dispatch={"lease_seconds": 2.0})


def shell(script: str, image: str = "debian:12", **fields: Any) -> Document:
    return {"image": image, "command": ["sh", "-c", script], **fields}


def bash(script: str) -> Document:
    return {"image": "debian:12", "command": ["bash", "-c", script]}


def said(task: Document) -> str:
    text: str = task["logs"][-1]["logs"][0]["stdout"]
    return text


def failure(task: Document) -> str:
    assert task["state"] == "SYSTEM_ERROR", task
    return " ".join(task["logs"][-1]["system_logs"])


def contents(root: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below, with what would change if it were touched."""
    found = {}
    for path in sorted(root.rglob("*")):
        info = path.lstat()
        text = path.read_text() if path.is_file() else ""
        found[str(path)] = (info.st_ino, info.st_mode, text)
    return found


@pytest.fixture(params=["sandbox", "docker"])
def anywhere(
    request: pytest.FixtureRequest, start_server: StartServer, staging: dict[str, Any]
) -> tuple[TespServer, str]:
    """A server of each runtime, and an image that it has."""
    if request.param == "sandbox":
        return start_server(staging=staging), "debian:12"
    engine: DockerEngine = request.getfixturevalue("docker_engine")
    settings = request.getfixturevalue("docker_settings")
    return start_server(**settings, staging=staging), engine.image


def test_inputs_are_the_files_themselves_wherever_the_task_wants_them(
    anywhere: tuple[TespServer, str], root: Path, tmp_path: Path
) -> None:
    server, image = anywhere
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "one").write_text("1")
    (root / "file").write_text("f")
    script = (
        "stat -c %i /in/file /in/d/e/one; echo 2 >/in/d/two; cp /in/file /o/copy; "
        "{ echo x >/in/file; } 2>/dev/null && echo written"
    )
    task = server.run(
        {
            "inputs": [
                {"path": "/in/file", "url": f"file://{root}/file"},
                {"path": "/in/d", "url": f"{root}/d", "type": "DIRECTORY"},
            ],
            "outputs": [{"path": "/o/copy", "url": f"file://{tmp_path}/files/copy"}],
            "executors": [shell(f"{script}; true", image)],
        }
    )
    assert task["state"] == "COMPLETE", task
    known = [str((root / name).stat().st_ino) for name in ("file", "d/e/one")]
    assert said(task).split() == known
    assert (root / "d" / "two").read_text() == "2\n"
    assert (root / "file").read_text() == "f"
    assert (tmp_path / "files" / "copy").read_text() == "f"
    assert [i["type"] for i in task["inputs"]] == ["FILE", "DIRECTORY"]
    assert task["logs"][0]["metadata"]["input_bytes"] == "0"
    assert server.leftovers() == []


def test_a_shared_input_among_files_of_the_task_s_own_is_bound_there(
    anywhere: tuple[TespServer, str], root: Path, tmp_path: Path
) -> None:
    server, image = anywhere
    (root / "d").mkdir()
    (root / "d" / "one").write_text("1")
    task = server.run(
        {
            "inputs": [
                {"path": "/w/in/d", "url": f"{root}/d", "type": "DIRECTORY"},
                {"path": "/w/in/one", "url": f"{root}/d/one"},
                {"path": "/w/in/own", "content": "own"},
            ],
            "outputs": [
                {"path": "/w", "url": f"file://{tmp_path}/files/w", "type": "DIRECTORY"},
            ],
            "executors": [shell("cat /w/in/own /w/in/d/one /w/in/one >/w/out", image)],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert (tmp_path / "files/w/out").read_text() == "own11"
    assert (tmp_path / "files/w/in/d/one").read_text() == "1"
    assert sorted(p.name for p in root.rglob("*")) == ["d", "one"]
    assert server.leftovers() == []


def test_outputs_to_a_shared_root_are_copied_from_a_directory_of_the_task_s_own(
    server: TespServer, root: Path
) -> None:
    script = "echo result >/o/x; echo scratch >/o/y"
    output = {"path": "/o/x", "url": f"file://{root}/results/x"}
    task = server.run({"outputs": [output], "executors": [shell(script)]})
    assert task["state"] == "COMPLETE", task
    assert [p.name for p in (root / "results").iterdir()] == ["x"]


def test_an_output_of_a_shared_directory_may_go_elsewhere(
    server: TespServer, root: Path, gate: Gate
) -> None:
    (root / "store").mkdir()
    task = server.run(
        {
            "inputs": [{"path": "/s", "url": f"{root}/store", "type": "DIRECTORY"}],
            "outputs": [
                {"path": "/s/out/x", "url": f"{gate.url}/x"},
                {"path": "/s/out/y", "url": f"file://{root}/store/out/y"},
            ],
            "executors": [shell("echo x >/s/out/x; echo y >/s/out/y")],
        }
    )
    assert task["state"] == "COMPLETE", task
    assert gate.bodies["/x"] == b"x\n"
    assert (root / "store/out/y").read_text() == "y\n"
    sent = task["logs"][0]["outputs"]
    assert [o["path"] for o in sent] == ["/s/out/x", "/s/out/y"]


def test_a_link_out_of_the_root_is_no_input(server: TespServer, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "link").symlink_to(tmp_path)
    url = f"file://{root}/link/secret"
    task = server.run({"inputs": [{"path": "/in", "url": url}], "executors": [shell("cat /in")]})
    assert "inputs[0]" in failure(task)
    assert "link leads out" in failure(task)
    assert "secret" not in task["logs"][0].get("logs", [{}])


def test_a_link_out_of_the_root_that_the_task_makes_is_not_sent(
    server: TespServer, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "store").mkdir()
    task = server.run(
        {
            "inputs": [{"path": "/s", "url": f"{root}/store", "type": "DIRECTORY"}],
            "outputs": [{"path": "/s/x", "url": f"file://{tmp_path}/files/x"}],
            "executors": [shell(f"ln -s {tmp_path}/secret /s/x")],
        }
    )
    assert "/s/x" in failure(task)
    assert not (tmp_path / "files" / "x").exists()


def test_a_directory_that_a_neighbour_replaces_by_a_link_is_not_followed(
    server: TespServer, root: Path, tmp_path: Path, gate: Gate
) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "x").write_text("secret")
    (root / "store").mkdir()
    gate.hold("/swap")
    task_id = server.submit(
        {
            "inputs": [{"path": "/s", "url": f"{root}/store", "type": "DIRECTORY"}],
            "outputs": [{"path": "/s/x", "url": f"file://{tmp_path}/files/x"}],
            "executors": [bash(gate.knock("/swap"))],
        }
    )
    gate.wait_for("/swap")
    (root / "store").rename(root / "moved")
    (root / "store").symlink_to(tmp_path / "private")
    gate.release("/swap")
    assert "link" in failure(server.wait(task_id))
    assert not (tmp_path / "files" / "x").exists()


def test_an_input_that_is_not_there_is_named(server: TespServer, root: Path) -> None:
    url = f"file://{root}/absent"
    task = server.run({"inputs": [{"path": "/in", "url": url}], "executors": [shell("true")]})
    assert "inputs[0]" in failure(task)
    assert url.removeprefix("file://") in failure(task)


def test_what_cleans_up_never_touches_a_shared_root(
    anywhere: tuple[TespServer, str], root: Path
) -> None:
    server, image = anywhere
    (root / "store" / "d").mkdir(parents=True)
    (root / "store" / "d" / "kept").write_text("kept")
    (root / "store" / "d" / "kept").chmod(0o640)
    (root / "store" / "link").symlink_to("d")
    before = contents(root)
    store = {"path": "/w/s", "url": f"{root}/store", "type": "DIRECTORY"}
    inner = {"path": "/w/kept", "url": f"{root}/store/d/kept"}
    task = {"inputs": [store, inner], "volumes": ["/w"]}
    for script, end in (("true", "COMPLETE"), ("exit 3", "EXECUTOR_ERROR")):
        assert server.run({**task, "executors": [shell(script, image)]})["state"] == end
    canceled = server.submit({**task, "executors": [shell("sleep 600", image)]})
    server.wait(canceled, "RUNNING")
    server.cancel(canceled)
    assert server.wait(canceled)["state"] == "CANCELED"
    killed = server.submit({**task, "executors": [shell("sleep 600", image)]})
    server.wait(killed, "RUNNING")
    server.kill()
    server.start()
    server.cancel(killed)
    assert server.wait(killed)["state"] == "CANCELED"
    assert server.leftovers() == []
    assert contents(root) == before


def test_roots_that_tasks_do_not_see_are_not_advertised(server: TespServer, root: Path) -> None:
    storage = server.client.get("/service-info").json()["storage"]
    assert [s for s in storage if s.startswith("file:")] == [f"file://{root}"]
    wait_until(lambda: not root.rmdir(), "the root is gone")
    storage = server.client.get("/service-info").json()["storage"]
    assert not any(s.startswith("file:") for s in storage)


def test_an_output_into_a_shared_root_that_is_read_only_is_refused_at_once(
    start_server: StartServer, root: Path
) -> None:
    server = start_server(staging={"files": [{"path": root, "shared": True, "writable": False}]})
    output = {"path": "/o/x", "url": f"file://{root}/x"}
    answer = server.client.post(
        "/tasks", json={"outputs": [output], "executors": [shell("echo >/o/x")]}
    )
    assert answer.status_code == 400
    assert "outputs[0].url" in answer.text
    (root / "f").write_text("f")
    task = server.run(
        {
            "inputs": [{"path": "/d", "url": f"file://{root}", "type": "DIRECTORY"}],
            "executors": [shell("cat /d/f; ! { echo x >/d/f; } 2>/dev/null")],
        }
    )
    assert (task["state"], said(task)) == ("COMPLETE", "f")
