"""POST tasks: what is taken, what is refused, what is kept."""

import json
from typing import Any

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import CURRENT, LIMITS, OLDER, TASK, api_over, client_of

TASKS = f"{CURRENT}/tasks"


async def create(client: httpx.AsyncClient, **task: Any) -> str:
    answer = await client.post(TASKS, json={**TASK, **task})
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["id"]
    return made


async def full(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    document: dict[str, Any] = (
        await client.get(f"{TASKS}/{task_id}", params={"view": "FULL"})
    ).json()
    return document


@pytest.mark.parametrize("prefix", [CURRENT, OLDER])
async def test_a_created_task_is_there_under_both_prefixes(
    client: httpx.AsyncClient, prefix: str
) -> None:
    answer = await client.post(f"{prefix}/tasks", json=TASK)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["id"]
    task_id = answer.json()["id"]
    assert task_id.isascii() and task_id.isalnum()
    for other in (CURRENT, OLDER):
        found = await client.get(f"{other}/tasks/{task_id}")
        assert found.json() == {"id": task_id, "state": "QUEUED"}


async def test_the_document_comes_back_as_it_was_sent(client: httpx.AsyncClient) -> None:
    sent = {
        "name": 'quotes " \\ and é \u2028 😀',
        "description": "",
        "inputs": [{"path": "/data/in", "url": "s3://b/in", "type": "FILE", "streamable": True}],
        "outputs": [
            {"path": "/data/*.x", "path_prefix": "/data", "url": "s3://b/d/", "type": "FILE"}
        ],
        "resources": {"cpu_cores": 2, "ram_gb": 1.5, "preemptible": False, "zones": ["z"]},
        "executors": [
            {
                "image": "a",
                "command": ["b", ""],
                "workdir": "/w",
                "stdin": "/data/in",
                "stdout": "/data/o",
                "stderr": "/data/e",
                "env": {"A": ""},
                "ignore_error": True,
            }
        ],
        "volumes": ["/vol"],
        "tags": {"k": "v", "empty": ""},
    }
    document = await full(client, await create(client, **sent))
    assert document.pop("creation_time").endswith("Z")
    assert document.pop("state") == "QUEUED"
    document.pop("id")
    assert document == sent


async def test_server_set_fields_are_ignored_and_unknown_ones_never_returned(
    client: httpx.AsyncClient,
) -> None:
    mine = {"id": "mine", "state": "COMPLETE", "creation_time": "x", "logs": [], "unknown": 1}
    task_id = await create(client, **mine)
    document = await full(client, task_id)
    assert task_id != "mine"
    assert document["state"] == "QUEUED"
    assert document["creation_time"] != "x"
    assert set(document) == {"id", "state", "executors", "creation_time"}


async def test_nulls_are_never_returned(client: httpx.AsyncClient) -> None:
    document = await full(client, await create(client, name=None, resources={"ram_gb": None}))
    assert "null" not in json.dumps(document)


async def test_whole_cpu_cores_come_back_as_an_integer(client: httpx.AsyncClient) -> None:
    document = await full(client, await create(client, resources={"cpu_cores": 2.0}))
    assert str(document["resources"]["cpu_cores"]) == "2"


async def test_content_of_128_kib_is_kept_whole(client: httpx.AsyncClient) -> None:
    content = "é\n" * 43_691
    task_id = await create(client, inputs=[{"path": "/data/in", "content": content}])
    assert (await full(client, task_id))["inputs"][0]["content"] == content


async def test_unsupported_backend_parameters_are_neither_stored_nor_returned(
    client: httpx.AsyncClient,
) -> None:
    given = {"VmSize": "big", "Timeout": "60"}
    task_id = await create(client, resources={"backend_parameters": given})
    resources = (await full(client, task_id))["resources"]
    assert resources == {"backend_parameters": {"Timeout": "60"}}


async def test_the_warning_about_a_dropped_parameter_goes_to_the_first_attempt(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = await create(client, resources={"backend_parameters": {"VmSize": "big"}})
    claim = await store.claim(task_id, "local", "tester", 60)
    assert claim is not None
    assert "VmSize" in claim.warnings[0]


async def test_strict_unsupported_backend_parameters_are_a_400(client: httpx.AsyncClient) -> None:
    resources = {"backend_parameters": {"VmSize": "big"}, "backend_parameters_strict": True}
    answer = await client.post(TASKS, json={**TASK, "resources": resources})
    assert answer.status_code == 400


async def test_a_bad_task_is_told_with_every_problem_and_not_kept(
    client: httpx.AsyncClient,
) -> None:
    bad = {"executors": [{"image": "", "command": []}], "inputs": [{"path": "/data/in"}]}
    answer = await client.post(TASKS, json=bad)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["title"]) == (400, "Bad Request")
    assert [e["field"] for e in problem["errors"]] == [
        "executors[0].image",
        "executors[0].command",
        "inputs[0].url",
    ]
    assert "executors[0].image" in problem["detail"] and "2 more" in problem["detail"]
    assert (await client.get(TASKS)).json() == {"tasks": []}


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", b"\xff", b'{"executors":[{"image":"a","command":["\\ud800"]}]}'],
)
async def test_a_body_that_is_no_task_is_a_400(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post(TASKS, content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"]


async def test_the_content_type_is_not_insisted_on(client: httpx.AsyncClient) -> None:
    body = json.dumps(TASK).encode()
    for headers in ({}, {"content-type": "text/plain"}):
        assert (await client.post(TASKS, content=body, headers=headers)).status_code == 200


async def test_a_body_over_the_limit_is_a_413(client: httpx.AsyncClient) -> None:
    body = json.dumps({**TASK, "description": "x" * LIMITS.body_bytes}).encode()

    async def chunks() -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    announced = await client.post(TASKS, content=body)
    unannounced = await client.post(TASKS, content=chunks())
    for answer in (announced, unannounced):
        assert answer.status_code == 413
        assert str(LIMITS.body_bytes) in answer.json()["detail"]


async def test_a_body_in_pieces_is_put_together(client: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for byte in json.dumps(TASK).encode():
            yield bytes([byte])

    assert (await client.post(TASKS, content=chunks())).status_code == 200


async def test_the_same_idempotency_key_gives_the_same_task(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "run 1/é".encode("ascii", "ignore").decode() + "~!"}
    first = await client.post(TASKS, json=TASK, headers=headers)
    again = await client.post(f"{OLDER}/tasks", json=TASK, headers=headers)
    assert first.json() == again.json()
    assert len((await client.get(TASKS)).json()["tasks"]) == 1


async def test_an_idempotency_key_with_another_body_is_a_409(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "key"}
    await client.post(TASKS, json=TASK, headers=headers)
    answer = await client.post(TASKS, json={**TASK, "name": "other"}, headers=headers)
    assert answer.status_code == 409
    assert answer.json()["title"] == "Conflict"


async def test_idempotency_keys_are_each_owners_own(client: httpx.AsyncClient) -> None:
    ids = set()
    for owner in ("one", "two"):
        headers = {"Idempotency-Key": "key", "X-Test-Owner": owner}
        ids.add((await client.post(TASKS, json=TASK, headers=headers)).json()["id"])
    assert len(ids) == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", b"\xe9"])
async def test_an_impossible_idempotency_key_is_a_400(
    client: httpx.AsyncClient, key: str | bytes
) -> None:
    answer = await client.post(TASKS, json=TASK, headers={"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    longest = await client.post(TASKS, json=TASK, headers={"Idempotency-Key": "x" * 255})
    assert longest.status_code == 200


async def test_authorization_is_ignored(client: httpx.AsyncClient) -> None:
    for value in ("Basic Tm9uZTpOb25l", "Bearer x", "nonsense"):
        answer = await client.post(TASKS, json=TASK, headers={"Authorization": value})
        assert answer.status_code == 200


async def test_doubled_and_trailing_slashes_are_taken_and_never_redirected(
    store: SqliteStore,
) -> None:
    async with client_of(api_over(store)) as client:
        for path in ("//v1/tasks", "/v1//tasks", "/v1/tasks/", "///ga4gh//tes/v1//tasks//"):
            answer = await client.post(f"http://tesp.test{path}", json=TASK)
            assert answer.status_code == 200, path
            assert (await client.get(f"http://tesp.test{path}")).status_code == 200
