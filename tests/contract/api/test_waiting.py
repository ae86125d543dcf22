"""GET tasks/{id}?wait=: answers when the task has changed, over both stores."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from tesp.dispatch.relay import Relay
from tesp.store import Store
from tesp.tes.states import State
from tests.contract.api.serving import CURRENT, OLDER, TASK, api_over, bring, client_of
from tests.contract.store.places import PLACES

TASKS = f"{CURRENT}/tasks"
LONG = 30


@pytest.fixture(params=sorted(PLACES))
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store whose events are relayed, as a dispatcher does that."""
    opened = await PLACES[request.param](request).open()
    relaying = asyncio.create_task(Relay(opened, "me", 60).run())
    yield opened
    relaying.cancel()
    await asyncio.wait([relaying])
    await opened.close()


async def created(client: httpx.AsyncClient) -> str:
    made: str = (await client.post(TASKS, json=TASK)).json()["id"]
    return made


async def waits(asked: "asyncio.Task[httpx.Response]") -> bool:
    """Whether a request has no answer yet, after others had theirs."""
    return not (await asyncio.wait([asked], timeout=0.3))[0]


async def test_the_answer_comes_when_the_task_has_ended(
    store: Store, client: httpx.AsyncClient
) -> None:
    task_id = await created(client)
    began = time.monotonic()
    asked = asyncio.create_task(client.get(f"{TASKS}/{task_id}", params={"wait": LONG}))
    assert await waits(asked)
    await bring(store, task_id, State.COMPLETE)
    assert (await asked).json() == {"id": task_id, "state": "COMPLETE"}
    assert time.monotonic() - began < LONG


async def test_the_answer_comes_when_the_state_is_another(
    store: Store, client: httpx.AsyncClient
) -> None:
    task_id = await created(client)
    wish = {"wait": LONG, "since": "QUEUED", "view": "FULL"}
    asked = asyncio.create_task(client.get(f"{TASKS}/{task_id}", params=wish))
    assert await waits(asked)
    await bring(store, task_id, State.RUNNING)
    assert (await asked).json()["state"] in ("INITIALIZING", "RUNNING")
    assert (await asked).json()["executors"] == TASK["executors"]


async def test_a_change_that_a_prefix_does_not_show_is_none_there(
    store: Store, client: httpx.AsyncClient
) -> None:
    task_id = await created(client)
    await bring(store, task_id, State.RUNNING)
    wish = {"wait": LONG, "since": "RUNNING"}
    older = asyncio.create_task(client.get(f"{OLDER}/tasks/{task_id}", params=wish))
    current = asyncio.create_task(client.get(f"{TASKS}/{task_id}", params=wish))
    await client.post(f"{TASKS}/{task_id}:cancel")
    assert (await current).json()["state"] == "CANCELING"
    assert await waits(older)
    older.cancel()


async def test_what_holds_already_is_answered_at_once_and_what_does_not_after_the_time(
    store: Store, client: httpx.AsyncClient
) -> None:
    task_id = await created(client)
    ended = await created(client)
    await bring(store, ended, State.CANCELED)
    began = time.monotonic()
    for path, wish in (
        (ended, {"wait": LONG}),
        (task_id, {"wait": LONG, "since": "RUNNING"}),
        (task_id, {"wait": 0}),
        (task_id, {"wait": "0.2", "since": "QUEUED"}),
        ("nosuch", {"wait": LONG}),
    ):
        answer = await client.get(f"{TASKS}/{path}", params=wish)
        assert answer.status_code == (404 if path == "nosuch" else 200)
    assert 0.2 <= time.monotonic() - began < LONG


@pytest.mark.parametrize("wish", [{"wait": w} for w in ("61", "-1", "x", "", "nan", "1_0")])
async def test_an_impossible_wait_is_a_400(wish: dict[str, str]) -> None:
    async with client_of(api_over(None)) as client:  # type: ignore[arg-type]
        answer = await client.get(f"{TASKS}/t", params=wish)
        since = await client.get(f"{TASKS}/t", params={"wait": "1", "since": "GONE"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "wait")
    assert (since.status_code, since.json()["errors"][0]["field"]) == (400, "since")


async def test_the_service_says_in_a_header_that_it_can_wait(client: httpx.AsyncClient) -> None:
    answer = await client.get(f"{TASKS}/{await created(client)}")
    assert answer.headers["tesp-wait"] == "60"
    assert set(answer.json()) == {"id", "state"}
