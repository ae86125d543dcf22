"""Many tasks in one request: each is judged on its own, and shown as one alone is."""

from typing import Any

import httpx
import pytest

from tesp.api.batches import MOST_IDS, MOST_TASKS
from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tests.contract.api.serving import CURRENT, LIMITS, OLDER, TASK, bring

TASKS = f"{CURRENT}/tasks"
REFUSED: dict[str, Any] = {"executors": [{"image": "i", "command": []}], "name": 7}


async def made(client: httpx.AsyncClient, *tasks: object, **headers: str) -> list[dict[str, Any]]:
    answer = await client.post(f"{TASKS}:batch", json={"tasks": tasks}, headers=headers)
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["tasks"]
    return results


async def stored(client: httpx.AsyncClient) -> int:
    return len((await client.get(TASKS)).json()["tasks"])


async def test_each_task_of_a_batch_gets_its_id_or_its_own_error(client: httpx.AsyncClient) -> None:
    named = {**TASK, "name": "second", "tags": {"run": "a"}}
    first, refused, second, nothing = await made(client, TASK, REFUSED, named, None)
    alone = await client.post(TASKS, json=REFUSED)
    assert refused == {"error": alone.json()}
    assert {p["field"] for p in refused["error"]["errors"]} == {"name"}
    assert nothing["error"]["status"] == 400
    assert first["id"] != second["id"]
    kept = (await client.get(f"{TASKS}/{second['id']}", params={"view": "FULL"})).json()
    assert (kept["name"], kept["tags"], kept["state"]) == ("second", {"run": "a"}, "QUEUED")
    assert await stored(client) == 2


async def test_a_batch_of_nothing_but_refused_tasks_stores_nothing(
    client: httpx.AsyncClient,
) -> None:
    results = await made(client, REFUSED, REFUSED)
    assert [r["error"]["status"] for r in results] == [400, 400]
    assert await stored(client) == 0


async def test_the_same_key_gives_the_same_tasks_and_makes_none(client: httpx.AsyncClient) -> None:
    batch = (TASK, REFUSED, TASK)
    first = await made(client, *batch, **{"Idempotency-Key": "k"})
    assert await made(client, *batch, **{"Idempotency-Key": "k"}) == first
    alone = await client.post(TASKS, json=TASK, headers={"Idempotency-Key": "k"})
    assert alone.status_code == 200
    assert alone.json() not in first
    assert await stored(client) == 3


async def test_the_same_key_with_another_batch_is_a_409_and_stores_nothing(
    client: httpx.AsyncClient,
) -> None:
    headers = {"Idempotency-Key": "k"}
    await made(client, TASK, **headers)
    other = {"tasks": [TASK, {**TASK, "name": "more"}]}
    answer = await client.post(f"{TASKS}:batch", json=other, headers=headers)
    assert answer.status_code == 409
    assert await stored(client) == 1


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("batch", {}, "tasks"),
        ("batch", {"tasks": []}, "tasks"),
        ("batch", {"tasks": [TASK] * (MOST_TASKS + 1)}, "tasks"),
        ("batch", {"tasks": {"0": TASK}}, "tasks"),
        ("batch", [TASK], "body"),
        ("batchGet", {"ids": []}, "ids"),
        ("batchGet", {"ids": [7]}, "ids[0]"),
        ("batchGet", {"ids": ["x"] * (MOST_IDS + 1)}, "ids"),
        ("batchGet", {"ids": ["x"], "view": "ALL"}, "view"),
        ("batch", {"tasks": [[0] * 500_000, [0] * 500_001]}, "body"),
    ],
)
async def test_what_is_no_batch_is_a_400_that_names_the_field(
    client: httpx.AsyncClient, path: str, body: object, field: str
) -> None:
    answer = await client.post(f"{TASKS}:{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert await stored(client) == 0


async def test_the_largest_batch_is_stored_and_a_body_over_the_limit_is_a_413(
    client: httpx.AsyncClient,
) -> None:
    results = await made(client, *[TASK] * MOST_TASKS)
    assert len({r["id"] for r in results}) == MOST_TASKS
    large = {"tasks": [{**TASK, "description": "x" * LIMITS.body_bytes}] * 2}
    assert (await client.post(f"{TASKS}:batch", json=large)).status_code == 413


@pytest.mark.parametrize("view", ["MINIMAL", "BASIC", "FULL"])
async def test_tasks_by_id_are_what_one_get_each_gives_in_that_order(
    client: httpx.AsyncClient, store: SqliteStore, view: str
) -> None:
    ids = [r["id"] for r in await made(client, TASK, TASK, TASK)]
    await bring(store, ids[1], State.COMPLETE)
    asked = [ids[2], "nosuch", ids[1], ids[0], ids[2]]
    answer = await client.post(f"{TASKS}:batchGet", json={"ids": asked, "view": view})
    alone = {i: (await client.get(f"{TASKS}/{i}", params={"view": view})) for i in set(asked)}
    assert answer.json()["tasks"] == [
        {"error": alone[i].json()} if i == "nosuch" else alone[i].json() for i in asked
    ]


async def test_older_clients_prefix_has_no_batches(client: httpx.AsyncClient) -> None:
    assert (await client.post(f"{OLDER}/tasks:batch", json={"tasks": [TASK]})).status_code == 404
