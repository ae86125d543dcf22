"""The `tesp` program against a real service: what it prints, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.peers.gate import Gate
from tests.peers.room import free_port, wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TERMINAL, TespServer

_PROGRAM = Path(sys.executable).with_name("tesp")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where tasks may read and write."""
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, files: Path) -> Iterator[TespServer]:
    """One service for all tests here: none of them looks at tasks that are not its own."""
    settings = {"local": {"runtime": "sandbox"}, "staging": {"files": [{"path": files}]}}
    server = TespServer(tmp_path_factory.mktemp("server"), settings)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def document(tmp_path: Path) -> Path:
    return tmp_path / "task.json"


def _environment(url: str, **more: str) -> dict[str, str]:
    return {**os.environ, "TESP_URL": url, **more}


def tesp(url: str, *args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [_PROGRAM, *args],
        env=_environment(url),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def started(url: str, directory: Path, *args: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program in the background; its output goes to `out` and `err` in the directory."""
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        process = subprocess.Popen(
            [_PROGRAM, *args],
            env=_environment(url),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def shell(script: str, **fields: Any) -> dict[str, Any]:
    return {"executors": [{"image": "i", "command": ["bash", "-c", script]}], **fields}


def write(file: Path, task: Mapping[str, Any]) -> Path:
    file.write_text(json.dumps(task))
    return file


def test_a_run_that_completes_ends_with_0_and_lists_its_outputs(
    server: TespServer, document: Path, files: Path
) -> None:
    url = f"file://{files}/there"
    write(document, shell("echo hello >/o/x", outputs=[{"path": "/o/x", "url": url}]))
    done = tesp(server.url, "run", document)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].split("\t") == ["/o/x", "6 B", url]
    assert "COMPLETE" in done.stderr


def test_a_run_that_fails_ends_with_1_and_shows_the_logs(
    server: TespServer, document: Path
) -> None:
    write(document, shell("echo out; echo why >&2; exit 3"))
    done = tesp(server.url, "run", document)
    assert done.returncode == 1
    assert "executors[0] ended with exit code 3" in done.stderr
    assert {"why", "out"} <= set(done.stderr.splitlines())


def test_a_system_error_ends_with_3_and_says_why(
    server: TespServer, document: Path, files: Path
) -> None:
    missing = {"path": "/in/x", "url": f"file://{files}/nothing"}
    write(document, shell("true", inputs=[missing]))
    done = tesp(server.url, "run", document)
    assert done.returncode == 3, done.stderr
    assert "system: " in done.stderr


def test_a_task_is_read_from_standard_input(server: TespServer) -> None:
    assert tesp(server.url, "run", "-", stdin=json.dumps(shell("true"))).returncode == 0


def test_of_several_files_the_gravest_end_counts(server: TespServer, tmp_path: Path) -> None:
    good = write(tmp_path / "good.json", shell("true"))
    bad = write(tmp_path / "bad.json", shell("false"))
    done = tesp(server.url, "run", good, bad, good)
    assert done.returncode == 1
    assert done.stderr.count("COMPLETE") == 2


def test_every_problem_of_a_refused_task_is_a_line_of_its_own(
    server: TespServer, document: Path
) -> None:
    write(document, shell("true", inputs=[{"path": "relative"}]))
    done = tesp(server.url, "run", document)
    assert done.returncode == 2
    fields = [line.split(": ")[1] for line in done.stderr.splitlines()]
    assert fields == ["inputs[0].path", "inputs[0].url"]
    assert done.stdout == ""


def test_a_file_that_is_not_json_is_refused_before_anything_is_sent(
    server: TespServer, document: Path, tmp_path: Path
) -> None:
    document.write_text("{")
    good = write(tmp_path / "good.json", shell("true", name="never-sent"))
    done = tesp(server.url, "submit", good, document)
    assert done.returncode == 2
    assert f"{document}: is not JSON" in done.stderr
    listed = tesp(server.url, "list", "--json", "--name-prefix", "never-sent")
    assert json.loads(listed.stdout) == []


def test_the_same_idempotency_key_gives_the_same_id(server: TespServer, document: Path) -> None:
    write(document, shell("true"))
    ids = {tesp(server.url, "submit", document, "--idempotency-key", "k").stdout for _ in "ab"}
    assert len(ids) == 1
    write(document, shell("false"))
    other = tesp(server.url, "submit", document, "--idempotency-key", "k")
    assert (other.returncode, other.stdout) == (2, "")


def test_get_prints_the_view_that_is_asked_for(server: TespServer) -> None:
    task_id = server.submit(shell("true", name="n"))
    minimal = json.loads(tesp(server.url, "get", task_id, "--view", "minimal").stdout)
    assert set(minimal) == {"id", "state"}
    assert json.loads(tesp(server.url, "get", task_id).stdout)["name"] == "n"


@pytest.mark.parametrize("words", [("get", "nope"), ("wait", "nope"), ("cancel", "a/../b")])
def test_an_unknown_id_ends_with_2(server: TespServer, words: tuple[str, str]) -> None:
    done = tesp(server.url, *words)
    assert done.returncode == 2
    assert words[1] in done.stderr
    assert "Traceback" not in done.stderr


def test_list_filters_by_tag_and_name(server: TespServer) -> None:
    for n in range(5):
        server.submit(shell("true", name=f"n{n}", tags={"even": str(n % 2 == 0)}))
    listed = json.loads(tesp(server.url, "list", "--tag", "even=True", "--json").stdout)
    assert [t["name"] for t in listed] == ["n4", "n2", "n0"]
    table = tesp(server.url, "list", "--limit", "2").stdout.splitlines()
    assert [line.split("\t")[3] for line in table] == ["NAME", "n4", "n3"]
    assert "n1" in tesp(server.url, "list", "--name-prefix", "n1").stdout


def test_more_tasks_than_a_page_holds_are_listed(server: TespServer) -> None:
    body = shell("true", tags={"many": "yes"})
    ids = {server.submit(body) for _ in range(260)}
    listed = json.loads(
        tesp(server.url, "list", "--limit", "300", "--tag", "many", "--json").stdout
    )
    assert {t["id"] for t in listed} == ids
    for task_id in ids:
        server.cancel(task_id)


def test_cancel_waits_for_the_end_and_wait_tells_it(server: TespServer, gate: Gate) -> None:
    gate.hold("/work")
    task_id = server.submit(shell(gate.knock("/work")))
    gate.wait_for("/work")
    assert tesp(server.url, "wait", task_id, "--timeout", "0.2").returncode == 124
    assert tesp(server.url, "cancel", task_id, "--wait").returncode == 0
    assert server.state(task_id) == "CANCELED"
    assert tesp(server.url, "wait", task_id).returncode == 4


def test_logs_keep_stdout_and_stderr_apart(server: TespServer) -> None:
    task_id = server.run(shell(r"echo out; printf 'a\377\\b'; echo err >&2"))["id"]
    done = subprocess.run(
        [_PROGRAM, "logs", task_id], env=_environment(server.url), capture_output=True, check=True
    )
    assert done.stdout == b"out\na\xff\\b"
    assert done.stderr == b"err\n"


def test_followed_logs_come_while_the_task_runs_and_each_byte_once(
    server: TespServer, gate: Gate, tmp_path: Path
) -> None:
    for path in ("/one", "/two"):
        gate.hold(path)
    script = f"echo first; {gate.knock('/one')}; echo second; {gate.knock('/two')}; echo third"
    executors = [*shell(script)["executors"], *shell("echo fourth")["executors"]]
    task_id = server.submit({"executors": executors})
    out = tmp_path / "out"
    with started(server.url, tmp_path, "logs", "-f", task_id) as process:
        wait_until(lambda: out.read_text() == "first\n", "the first line")
        gate.release("/one")
        wait_until(lambda: out.read_text() == "first\nsecond\n", "the second line")
        gate.release("/two")
        assert process.wait(60) == 0
    assert out.read_text() == "first\nsecond\nthird\nfourth\n"


def test_a_run_outlives_a_restart_of_the_service(
    start_server: StartServer, gate: Gate, document: Path, tmp_path: Path
) -> None:
    server = start_server()
    gate.hold("/work")
    write(document, shell(gate.knock("/work")))
    with started(server.url, tmp_path, "run", document) as process:
        gate.wait_for("/work")
        wait_until(lambda: "RUNNING" in (tmp_path / "err").read_text(), "RUNNING is shown")
        server.kill()
        wait_until(lambda: "waiting for it" in (tmp_path / "err").read_text(), "the note")
        server.start()
        gate.release("/work")
        assert process.wait(90) == 0
    assert gate.passed("/work") == 1


@pytest.mark.parametrize(
    ("flag", "state"), [("--cancel-on-interrupt", "CANCELED"), ("", "RUNNING")]
)
def test_ctrl_c_ends_with_130_and_cancels_only_where_it_was_asked_to(
    server: TespServer, gate: Gate, document: Path, tmp_path: Path, flag: str, state: str
) -> None:
    gate.hold("/work")
    write(document, shell(gate.knock("/work")))
    with started(server.url, tmp_path, "run", document, *filter(None, [flag])) as process:
        gate.wait_for("/work")
        wait_until(lambda: "RUNNING" in (tmp_path / "err").read_text(), "RUNNING is shown")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    first, *_, last = (tmp_path / "err").read_text().splitlines()
    task_id = first.split()[1]
    assert task_id in last
    if state in TERMINAL:
        server.wait(task_id, state)
    assert server.state(task_id) == state
    server.cancel(task_id)
    server.wait(task_id)


def test_a_service_that_is_not_there_ends_with_5_at_once() -> None:
    done = tesp(f"http://127.0.0.1:{free_port()}", "list")
    assert done.returncode == 5
    assert "tesp serve" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_no_task_service_is_told_as_such(gate: Gate) -> None:
    done = tesp(gate.url, "list")
    assert done.returncode == 5
    assert "no task service" in done.stderr


def test_a_reader_that_has_enough_ends_a_listing_quietly(server: TespServer) -> None:
    for _ in range(3):
        server.submit(shell("true"))
    with subprocess.Popen(
        f"{_PROGRAM} list --limit 2000 | true",
        shell=True,
        env=_environment(server.url),
        stderr=subprocess.PIPE,
    ) as process:
        assert process.communicate()[1] == b""


def test_a_terminal_sees_a_table_and_a_live_line(server: TespServer, document: Path) -> None:
    write(document, shell("true", name="seen"))
    main, side = pty.openpty()
    with subprocess.Popen(
        [_PROGRAM, "run", document],
        env=_environment(server.url, TERM="xterm", COLUMNS="100"),
        stdin=side,
        stdout=side,
        stderr=side,
    ) as process:
        os.close(side)
        shown = _read_all(main)
    assert process.returncode == 0
    assert "COMPLETE" in shown
    assert "\x1b[?25h" in shown  # the cursor comes back


def _read_all(descriptor: int) -> str:
    shown = b""
    try:
        while chunk := os.read(descriptor, 4096):
            shown += chunk
    except OSError:  # EIO: the other end is closed
        pass
    finally:
        os.close(descriptor)
    return shown.decode(errors="replace")


def test_the_version_is_shown() -> None:
    assert tesp("", "--version").stdout.startswith("tesp ")


@pytest.mark.parametrize(
    "command", ["serve", "run", "submit", "get", "list", "cancel", "wait", "logs", "doctor"]
)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    done = tesp("", command, "--help")
    assert done.returncode == 0
    assert f"tesp {command}" in done.stdout.split("Example:")[1]


def test_help_and_completion_do_without_the_server_and_without_http() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from tesp.cli import main; main()", "-h"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tesp.cli.program" in loaded
    assert not loaded & {"httpx", "pydantic", "fastapi", "tesp.app", "tesp.settings", "asyncio"}


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    script = tesp("", "--show-completion", "bash").stdout or _completion_script()
    program = f"""
{script}
COMP_WORDS=(tesp li) COMP_CWORD=1; _tesp_completion tesp li tesp; echo "${{COMPREPLY[@]}}"
COMP_WORDS=(tesp list --st) COMP_CWORD=2; _tesp_completion tesp --st list
echo "${{COMPREPLY[@]}}"
"""
    path = f"{_PROGRAM.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["list", "--state"]


def _completion_script() -> str:
    """What `tesp --show-completion` prints in a bash."""
    environment = {**os.environ, "_TESP_COMPLETE": "source_bash"}
    done = subprocess.run([_PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout
