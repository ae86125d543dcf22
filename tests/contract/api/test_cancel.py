"""POST tasks/{id}:cancel."""

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tests.contract.api.serving import CURRENT, OLDER, REACHABLE, TASK, bring

TASKS = f"{CURRENT}/tasks"
AFTER = {
    State.QUEUED: State.CANCELED,
    State.INITIALIZING: State.CANCELING,
    State.RUNNING: State.CANCELING,
}


async def create(client: httpx.AsyncClient) -> str:
    made: str = (await client.post(TASKS, json=TASK)).json()["id"]
    return made


@pytest.mark.parametrize("prefix", [CURRENT, OLDER])
@pytest.mark.parametrize("state", REACHABLE)
async def test_cancel_answers_200_in_every_state_and_leaves_the_ended_alone(
    client: httpx.AsyncClient, store: SqliteStore, state: State, prefix: str
) -> None:
    task_id = await create(client)
    await bring(store, task_id, state)
    for _ in range(2):
        answer = await client.post(f"{prefix}/tasks/{task_id}:cancel")
        assert (answer.status_code, answer.json()) == (200, {})
    now = (await client.get(f"{TASKS}/{task_id}")).json()["state"]
    assert now == AFTER.get(state, state)


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b"\xff" * 100_000])
async def test_the_body_of_a_cancel_is_no_matter(client: httpx.AsyncClient, body: bytes) -> None:
    task_id = await create(client)
    headers = {"Content-Type": "application/json"}
    answer = await client.post(f"{TASKS}/{task_id}:cancel", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})


async def test_cancel_of_an_unknown_task_is_a_404(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{TASKS}/unknown:cancel")
    assert answer.status_code == 404
    assert answer.json()["title"] == "Not Found"
