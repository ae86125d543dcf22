"""What led to a task: taken from headers, told with its events."""

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import CURRENT, TASK

URL = f"{CURRENT}/tasks"


async def origin_of(store: SqliteStore, task_id: str) -> tuple[str, int]:
    (event,) = await store.history(task_id)
    return event.correlation, event.hops


async def test_without_headers_a_task_is_its_own_cause(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = (await client.post(URL, json=TASK)).json()["id"]
    assert await origin_of(store, task_id) == (task_id, 0)


@pytest.mark.parametrize("path", ["", ":batch"])
async def test_cause_and_hops_of_a_request_are_those_of_its_tasks(
    client: httpx.AsyncClient, store: SqliteStore, path: str
) -> None:
    headers = {"X-Correlation-ID": "alert 7 ~", "Tesp-Hops": "8"}
    body = {"tasks": [TASK, TASK]} if path else TASK
    made = (await client.post(URL + path, json=body, headers=headers)).json()
    for task in made.get("tasks", [made]):
        assert await origin_of(store, task["id"]) == ("alert 7 ~", 8)


@pytest.mark.parametrize("path", ["", ":batch"])
@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Correlation-ID", "x" * 129),
        ("X-Correlation-ID", "a\tb"),
        ("X-Correlation-ID", "ä"),
        ("X-Correlation-ID", ""),
        ("Tesp-Hops", "-1"),
        ("Tesp-Hops", "one"),
        ("Tesp-Hops", "1.0"),
        ("Tesp-Hops", ""),
    ],
)
async def test_what_is_none_is_refused_and_the_header_named(
    client: httpx.AsyncClient, path: str, header: str, value: str
) -> None:
    body = {"tasks": [TASK]} if path else TASK
    answer = await client.post(URL + path, json=body, headers={header: value.encode()})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == header


@pytest.mark.parametrize("hops", ["9", "999999999"])
async def test_after_eight_triggers_it_is_enough(client: httpx.AsyncClient, hops: str) -> None:
    answer = await client.post(URL, json=TASK, headers={"Tesp-Hops": hops})
    assert answer.status_code == 409
    assert "triggers stop at 8" in answer.json()["detail"]
