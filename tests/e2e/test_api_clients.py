"""Real clients: both generations of py-tes make every call that they have."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tests.contract.api.serving import REACHABLE, STORAGE, api_over, bring, served
from tests.peers.gate import Gate
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

CALLS = Path(__file__).with_name("pytes_calls.py")
OLDER_STATES = {State.CANCELING: State.RUNNING, State.PREEMPTED: State.SYSTEM_ERROR}
UNKNOWN_TO_OLD_CLIENTS = frozenset(OLDER_STATES)
RICH_TASK: dict[str, Any] = {
    "name": "rich",
    "executors": [{"image": "a", "command": ["b"], "env": {"A": "B"}, "stdout": "/data/o"}],
    "inputs": [{"path": "/data/in", "content": "literal"}],
    "outputs": [{"path": "/data/o", "url": "s3://bucket/o"}],
    "resources": {"cpu_cores": 1.0, "ram_gb": 2},
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """A store of this test's own."""
    opened = await SqliteStore.open(tmp_path / "tasks.sqlite")
    yield opened
    await opened.close()


async def tasks_in(url: str, store: SqliteStore, states: list[State]) -> dict[str, State]:
    """A task in each of these states, by its id."""
    made = {}
    async with httpx.AsyncClient(base_url=url) as client:
        for state in states:
            task_id = (await client.post("/v1/tasks", json=RICH_TASK)).json()["id"]
            await bring(store, task_id, state)
            made[task_id] = state
    return made


async def calls(python: Path, url: str, known: dict[str, State]) -> dict[str, Any]:
    """Every call of the client that `python` has."""
    return await answers_of(python, {"url": url, "known": list(known)})


async def answers_of(python: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What the client that `python` has made of its calls."""
    program = await asyncio.create_subprocess_exec(
        *(str(python), str(CALLS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await program.communicate(json.dumps(asked).encode())
    assert program.returncode == 0, err.decode()
    answers: dict[str, Any] = json.loads(out)
    return answers


def check_shown(answers: dict[str, Any], shown: dict[str, State]) -> None:
    for task_id, state in shown.items():
        views = answers["known"][task_id]
        assert {view["state"] for view in views.values()} == {state}
        assert set(views["MINIMAL"]) == {"id", "state"}
        assert views["FULL"]["inputs"][0]["content"] == "literal"
        assert "content" not in views["BASIC"]["inputs"][0]
    for page in answers["pages"].values():
        listed = {task_id: state for task_id, state in page if task_id != answers["made"]}
        assert listed == shown
        assert len(page) == len(shown) + 1


def check_own_task(answers: dict[str, Any]) -> None:
    mine = answers["mine"]
    assert mine["id"] == answers["made"]
    assert mine["state"] == "QUEUED"
    assert mine["name"] == "made by py-tes"
    assert mine["resources"]["cpu_cores"] == 2
    assert mine["executors"][0]["env"] == {"A": "B"}
    assert mine["inputs"][1]["content"] == "x"
    assert answers["waited"] == "CANCELED"
    assert "404" in answers["unknown"]


def check_logs(answers: dict[str, Any], tasks: dict[str, State]) -> None:
    ended = next(i for i, state in tasks.items() if state is State.COMPLETE)
    (attempt,) = answers["known"][ended]["FULL"]["logs"]
    assert attempt["logs"][0]["exit_code"] == 0
    assert attempt["logs"][0]["stdout"] == "said"
    assert attempt["outputs"][0]["size_bytes"] in ("3", 3)


async def test_py_tes_1_makes_every_call_in_every_state(
    store: SqliteStore, pytes_new: Path
) -> None:
    async with served(api_over(store)) as url:
        tasks = await tasks_in(url, store, list(REACHABLE))
        answers = await calls(pytes_new, url, tasks)
    check_shown(answers, tasks)
    check_own_task(answers)
    check_logs(answers, tasks)
    info = answers["service_info"]
    assert info["type"]["artifact"] == "tes"
    assert info["storage"] == STORAGE


async def test_py_tes_1_finds_the_older_prefix_by_the_404s_of_the_others(
    store: SqliteStore, pytes_new: Path
) -> None:
    async with served(api_over(store)) as url:
        tasks = await tasks_in(url, store, list(REACHABLE))
        answers = await calls(pytes_new, f"{url}/v1", tasks)
    check_shown(answers, {i: OLDER_STATES.get(s, s) for i, s in tasks.items()})
    check_own_task(answers)


async def test_py_tes_0_4_makes_every_call_in_every_state(
    store: SqliteStore, pytes_old: Path
) -> None:
    async with served(api_over(store)) as url:
        tasks = await tasks_in(url, store, list(REACHABLE))
        answers = await calls(pytes_old, url, tasks)
    check_shown(answers, {i: OLDER_STATES.get(s, s) for i, s in tasks.items()})
    check_own_task(answers)
    check_logs(answers, tasks)
    assert set(answers["service_info"]) == {"name", "doc", "storage"}


async def test_py_tes_0_4_makes_every_call_under_the_current_prefix(
    store: SqliteStore, pytes_old: Path
) -> None:
    known = [state for state in REACHABLE if state not in UNKNOWN_TO_OLD_CLIENTS]
    async with served(api_over(store)) as url:
        tasks = await tasks_in(url, store, known)
        answers = await calls(pytes_old, f"{url}/ga4gh/tes", tasks)
    check_shown(answers, tasks)
    check_own_task(answers)


def bash(script: str) -> dict[str, Any]:
    return {"image": "debian:12", "command": ["bash", "-c", script]}


def endings(gate: Gate, files: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """A task for each way to end, or to be on the way; with the state that it comes to."""
    absent = {"path": "/in", "url": f"file://{files}/absent"}
    output = {"path": "/o/x", "url": f"file://{files}/x"}
    knock = bash(f"echo so far; echo 'caf\\xe9' >&2; {gate.knock('/held')}")
    return {
        "well": ("COMPLETE", {"outputs": [output], "executors": [bash("echo 1 >/o/x")]}),
        "failed": ("EXECUTOR_ERROR", {"executors": [bash("echo no >&2; exit 4"), bash("true")]}),
        "not begun": ("SYSTEM_ERROR", {"inputs": [absent], "executors": [bash("true")]}),
        "not sent": ("SYSTEM_ERROR", {"outputs": [output], "executors": [bash("echo done")]}),
        "running": ("RUNNING", {"executors": [bash("echo first"), knock]}),
    }


def check_endings(known: dict[str, Any], ids: dict[str, str]) -> None:
    logs = {name: known[task_id]["FULL"]["logs"][-1] for name, task_id in ids.items()}
    codes = {name: [e["exit_code"] for e in log["logs"]] for name, log in logs.items()}
    assert codes == {
        "well": [0],
        "failed": [4],
        "not begun": [],
        "not sent": [0],
        "running": [0],
        "canceled": [137],
    }
    assert "absent" in " ".join(logs["not begun"]["system_logs"])
    assert "/o/x" in " ".join(logs["not sent"]["system_logs"])
    assert logs["not sent"]["logs"][0]["stdout"] == "done\n"
    assert logs["running"]["metadata"]["executor.1.stdout"] == "so far\n"
    assert logs["well"]["outputs"][0]["path"] == "/o/x"


def tasks_at(server: TespServer, gate: Gate, files: Path) -> dict[str, str]:
    """The ids of a task for each ending, each in its state."""
    gate.hold("/held")
    wanted = endings(gate, files)
    ids = {name: server.submit(task) for name, (_, task) in wanted.items()}
    ids["canceled"] = server.submit({"executors": [bash("sleep 600")]})
    server.wait(ids["canceled"], "RUNNING")
    server.cancel(ids["canceled"])
    server.wait(ids["canceled"])
    for name, (state, _) in wanted.items():
        server.wait(ids[name], state)

    def shown() -> bool:
        log = server.get(ids["running"])["logs"][-1]
        return "executor.1.stderr" in log["metadata"] and len(log["logs"]) == 1

    wait_until(shown, "the live tails")
    return ids


async def test_both_generations_of_py_tes_read_every_ending_and_a_running_task(
    start_server: StartServer, gate: Gate, tmp_path: Path, pytes_new: Path, pytes_old: Path
) -> None:
    server = start_server(local={"cpus": 8.0, "slots": 8})
    ids = tasks_at(server, gate, tmp_path / "files")
    states = {task_id: server.state(task_id) for task_id in ids.values()}
    asked = {
        "ended": [i for name, i in ids.items() if name != "running"],
        "running": [ids["running"]],
    }
    for python in (pytes_new, pytes_old):
        for prefix in ("", "/v1") if python is pytes_new else ("", "/ga4gh/tes"):
            answers = await answers_of(python, {"url": f"{server.url}{prefix}", **asked})
            assert answers["waited"] == {**states, ids["running"]: "timeout"}
            assert {dict(map(tuple, page)) == states for page in answers["pages"].values()} == {
                True
            }
            check_endings(answers["known"], ids)
    gate.release("/held")
    assert server.wait(ids["running"])["state"] == "COMPLETE"
