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
    program = await asyncio.create_subprocess_exec(
        *(str(python), str(CALLS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    asked = json.dumps({"url": url, "known": list(known)}).encode()
    out, err = await program.communicate(asked)
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
