"""GET tasks and tasks/{id}: views, filters, pages."""

import asyncio
from typing import Any

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tests.contract.api.serving import (
    CURRENT,
    OLDER,
    REACHABLE,
    TASK,
    api_over,
    bring,
    client_of,
)

TASKS = f"{CURRENT}/tasks"


async def create(client: httpx.AsyncClient, **task: Any) -> str:
    made: str = (await client.post(TASKS, json={**TASK, **task})).json()["id"]
    return made


async def listed(client: httpx.AsyncClient, prefix: str = CURRENT, **params: Any) -> set[str]:
    """The ids of all pages."""
    found: list[str] = []
    while True:
        answer = await client.get(f"{prefix}/tasks", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [task["id"] for task in page["tasks"]]
        if "next_page_token" not in page:
            assert len(found) == len(set(found))
            return set(found)
        params["page_token"] = page["next_page_token"]


async def ended_task(client: httpx.AsyncClient, store: SqliteStore) -> str:
    task_id = await create(
        client,
        name="n",
        inputs=[{"path": "/data/in", "content": "literal"}],
        outputs=[{"path": "/data/out", "url": "s3://b/out"}],
    )
    await bring(store, task_id, State.COMPLETE)
    return task_id


async def test_minimal_is_the_default_and_only_id_and_state(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = await ended_task(client, store)
    for params in ({}, {"view": "MINIMAL"}):
        one = (await client.get(f"{TASKS}/{task_id}", params=params)).json()
        page = (await client.get(TASKS, params=params)).json()
        assert one == {"id": task_id, "state": "COMPLETE"}
        assert page == {"tasks": [one]}


async def test_basic_drops_streams_content_and_system_logs_and_nothing_else(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = await ended_task(client, store)
    everything = (await client.get(f"{TASKS}/{task_id}", params={"view": "FULL"})).json()
    basic = (await client.get(f"{TASKS}/{task_id}", params={"view": "BASIC"})).json()
    assert everything["inputs"][0].pop("content") == "literal"
    assert everything["logs"][0].pop("system_logs") == ["a system's word"]
    assert everything["logs"][0]["logs"][0].pop("stdout") == "said"
    assert everything["logs"][0]["logs"][0].pop("stderr") == "warned"
    assert basic == everything
    assert basic["logs"][0]["logs"][0]["exit_code"] == 0
    assert basic["logs"][0]["outputs"][0]["size_bytes"] == "3"
    page = (await client.get(TASKS, params={"view": "BASIC"})).json()
    assert page == {"tasks": [basic]}


@pytest.mark.parametrize("view", ["", "full", "Full", "ALL", "FULL ", "é"])
async def test_an_unknown_view_is_a_400(client: httpx.AsyncClient, view: str) -> None:
    task_id = await create(client)
    for url in (TASKS, f"{TASKS}/{task_id}"):
        answer = await client.get(url, params={"view": view})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "view"


@pytest.mark.parametrize(
    "task_id",
    [
        *("unknown", "a%2Fb", "%2F", "..", "%2e%2e%2fx", "a b", "%00", "%ff", "x" * 5000),
        *("'%3B--", "$gt", "%7B%22a%22:1%7D", "a%2F%2Fb", "caf%C3%A9", "x:y", "tasks/x", "*"),
    ],
)
async def test_an_unknown_or_odd_id_is_a_404(client: httpx.AsyncClient, task_id: str) -> None:
    for answer in (
        await client.get(f"{TASKS}/{task_id}"),
        await client.post(f"{TASKS}/{task_id}:cancel"),
    ):
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_empty_store_still_lists_tasks(client: httpx.AsyncClient) -> None:
    assert (await client.get(TASKS)).json() == {"tasks": []}


async def test_a_page_has_256_tasks_unless_asked_otherwise(client: httpx.AsyncClient) -> None:
    await asyncio.gather(*(create(client) for _ in range(300)))
    page = (await client.get(TASKS)).json()
    assert len(page["tasks"]) == 256
    rest = (await client.get(TASKS, params={"page_token": page["next_page_token"]})).json()
    assert len(rest["tasks"]) == 44
    assert "next_page_token" not in rest
    assert len((await client.get(TASKS, params={"page_size": 2047})).json()["tasks"]) == 300


@pytest.mark.parametrize("size", ["", "0", "-1", "2048", "x", "1.5", "1e2", "9" * 400, "²", "+1"])
async def test_a_page_size_out_of_range_is_a_400(client: httpx.AsyncClient, size: str) -> None:
    answer = await client.get(TASKS, params={"page_size": size})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "page_size"


async def test_pages_hold_every_task_once_while_tasks_are_added(
    client: httpx.AsyncClient,
) -> None:
    before = {await create(client) for _ in range(7)}
    first = (await client.get(TASKS, params={"page_size": 3})).json()
    await asyncio.gather(*(create(client) for _ in range(5)))
    token = first["next_page_token"]
    rest = await listed(client, page_size=2, page_token=token)
    seen = [task["id"] for task in first["tasks"]]
    assert not rest & set(seen)
    assert before <= rest | set(seen)


async def test_a_token_is_good_in_every_view_and_size(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        await create(client)
    token = (await client.get(TASKS, params={"page_size": 1})).json()["next_page_token"]
    pages = []
    for view in ("MINIMAL", "BASIC", "FULL"):
        params = {"page_token": token, "view": view, "page_size": 2}
        page = (await client.get(TASKS, params=params)).json()
        pages.append([task["id"] for task in page["tasks"]])
    assert pages[0] == pages[1] == pages[2]
    assert len(pages[0]) == 2


async def test_a_token_of_other_filters_or_none_at_all_is_a_400(
    client: httpx.AsyncClient,
) -> None:
    for _ in range(3):
        await create(client, tags={"a": "b"}, name="name")
    token = (await client.get(TASKS, params={"page_size": 1})).json()["next_page_token"]
    for other in (
        {"page_token": token, "state": "QUEUED"},
        {"page_token": token, "name_prefix": "n"},
        {"page_token": token, "tag_key": "a"},
        {"page_token": token[:-1]},
        {"page_token": "nonsense"},
        {"page_token": "é"},
    ):
        answer = await client.get(TASKS, params=other)
        assert answer.status_code == 400, other
        assert answer.json()["errors"][0]["field"] == "page_token"


async def test_the_name_prefix_is_literal(client: httpx.AsyncClient) -> None:
    names = {name: await create(client, name=name) for name in ("a%b", "a_b", "axb", "A%B", "b")}
    await create(client)
    assert await listed(client, name_prefix="a%") == {names["a%b"]}
    assert await listed(client, name_prefix="a_") == {names["a_b"]}
    assert await listed(client, name_prefix="a") == {names[n] for n in ("a%b", "a_b", "axb")}
    assert await listed(client, name_prefix="^a") == set()
    assert len(await listed(client, name_prefix="")) == 6


async def test_tags_are_zipped_and_anded_and_an_empty_value_means_any(
    client: httpx.AsyncClient,
) -> None:
    bar = await create(client, tags={"foo": "bar"})
    bat = await create(client, tags={"foo": "bat"})
    both = await create(client, tags={"foo": "bar", "baz": "bat"})
    empty = await create(client, tags={"foo": ""})
    await create(client)
    assert await listed(client, tag_key="foo", tag_value="bar") == {bar, both}
    assert await listed(client, tag_key="foo") == {bar, bat, both, empty}
    assert await listed(client, tag_key="foo", tag_value="") == {bar, bat, both, empty}
    zipped = {"tag_key": ["foo", "baz"], "tag_value": ["bar", "bat"]}
    assert await listed(client, **zipped) == {both}
    assert await listed(client, tag_key=["foo", "baz"], tag_value=["bar"]) == {both}
    assert await listed(client, tag_key=["foo", "baz"], tag_value=["", "bat"]) == {both}
    assert await listed(client, tag_key=["foo", "foo"], tag_value=["bar", "bat"]) == set()
    assert await listed(client, tag_key="FOO") == set()


async def test_odd_tags_are_found_by_the_very_same_text(client: httpx.AsyncClient) -> None:
    for key in ("a.b", "$where", "a b", "é", "", "%", 'q"\\', "[0]"):
        made = await create(client, tags={key: key})
        assert await listed(client, tag_key=key, tag_value=key) == {made}, key


async def test_many_tag_filters_are_no_trouble(client: httpx.AsyncClient) -> None:
    tags = {f"k{n}": str(n) for n in range(200)}
    made = await create(client, tags=tags)
    keys, values = list(tags), list(tags.values())
    assert await listed(client, tag_key=keys, tag_value=values) == {made}


async def test_more_tag_values_than_keys_are_a_400(client: httpx.AsyncClient) -> None:
    answer = await client.get(TASKS, params={"tag_key": "a", "tag_value": ["b", "c"]})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "tag_value"


@pytest.mark.parametrize("state", ["", "running", "DONE", "RUNNING ", "é"])
async def test_an_unknown_state_is_a_400(client: httpx.AsyncClient, state: str) -> None:
    answer = await client.get(TASKS, params={"state": state})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "state"


async def in_all_states(client: httpx.AsyncClient, store: SqliteStore) -> dict[State, str]:
    tasks = {state: await create(client) for state in REACHABLE}
    for state, task_id in tasks.items():
        await bring(store, task_id, state)
    return tasks


async def test_every_state_is_shown_and_filtered_as_it_is(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    tasks = await in_all_states(client, store)
    for state, task_id in tasks.items():
        assert (await client.get(f"{TASKS}/{task_id}")).json()["state"] == state
        assert await listed(client, state=state) == {task_id}
    assert await listed(client, state="PAUSED") == set()
    assert await listed(client, state="UNKNOWN") == set()


async def test_older_clients_see_no_state_that_they_do_not_know(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    tasks = await in_all_states(client, store)
    instead = {State.CANCELING: State.RUNNING, State.PREEMPTED: State.SYSTEM_ERROR}
    page = (await client.get(f"{OLDER}/tasks")).json()
    shown = {task["id"]: task["state"] for task in page["tasks"]}
    for state, task_id in tasks.items():
        seen = (await client.get(f"{OLDER}/tasks/{task_id}", params={"view": "FULL"})).json()
        assert seen["state"] == shown[task_id] == instead.get(state, state)
    for state in State:
        expected = {i for s, i in tasks.items() if instead.get(s, s) is state}
        assert await listed(client, prefix=OLDER, state=state) == expected


async def test_the_setting_shows_all_states_to_older_clients_too(store: SqliteStore) -> None:
    async with client_of(api_over(store, legacy_states=False)) as client:
        tasks = await in_all_states(client, store)
        for state, task_id in tasks.items():
            assert (await client.get(f"{OLDER}/tasks/{task_id}")).json()["state"] == state
            assert await listed(client, prefix=OLDER, state=state) == {task_id}
