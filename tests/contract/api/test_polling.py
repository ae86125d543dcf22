"""Tags of answers: who polls gets 304 while nothing is new."""

import httpx
import pytest

from tesp.store import Change
from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tesp.tes.views import logs_text
from tests.contract.api.serving import ATTEMPT, CURRENT, OLDER, TASK, bring

TASKS = f"{CURRENT}/tasks"
VIEWS = ["MINIMAL", "BASIC", "FULL"]


async def created(client: httpx.AsyncClient, run: str = "a") -> str:
    made: str = (await client.post(TASKS, json={**TASK, "tags": {"run": run}})).json()["id"]
    return made


async def again(client: httpx.AsyncClient, url: str, tag: str) -> httpx.Response:
    return await client.get(url, headers={"If-None-Match": tag})


@pytest.mark.parametrize("view", VIEWS)
async def test_a_task_that_is_as_it_was_is_a_304_without_a_body(
    client: httpx.AsyncClient, store: SqliteStore, view: str
) -> None:
    task_id = await created(client)
    url = f"{TASKS}/{task_id}?view={view}"
    tag = (await client.get(url)).headers["etag"]
    same = await again(client, url, tag)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    await bring(store, task_id, State.RUNNING)
    news = await again(client, url, tag)
    assert (news.status_code, news.json()["state"]) == (200, "RUNNING")
    assert news.headers["etag"] != tag


@pytest.mark.parametrize("view", VIEWS)
async def test_a_list_by_tag_is_a_304_until_one_of_its_tasks_changes(
    client: httpx.AsyncClient, store: SqliteStore, view: str
) -> None:
    url = f"{TASKS}?tag_key=run&tag_value=a&view={view}"
    mine = [await created(client) for _ in range(3)]
    tag = (await client.get(url)).headers["etag"]
    await bring(store, await created(client, "b"), State.COMPLETE)
    assert (await again(client, url, tag)).status_code == 304
    await bring(store, mine[1], State.COMPLETE)
    changed = await again(client, url, tag)
    assert changed.status_code == 200
    await created(client)
    assert (await again(client, url, changed.headers["etag"])).status_code == 200


async def test_live_logs_are_news_in_full_alone(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = await created(client)
    claim = await store.claim(task_id, "local", "me", 60)
    assert claim is not None
    await store.write(claim.fence, Change(logs=logs_text([ATTEMPT])))
    urls = {view: f"{TASKS}/{task_id}?view={view}" for view in VIEWS}
    tags = {view: (await client.get(url)).headers["etag"] for view, url in urls.items()}
    await store.tail(claim.fence, {"executor.0.stdout": "said"})
    came = {view: (await again(client, urls[view], tags[view])).status_code for view in VIEWS}
    assert came == {"MINIMAL": 304, "BASIC": 304, "FULL": 200}


@pytest.mark.parametrize(
    ("asked", "status"),
    [("*", 304), ('"x", {}', 304), ("{}", 304), ('"x"', 200), ("", 200), ("nonsense", 200)],
)
async def test_if_none_match_is_read_as_http_has_it(
    client: httpx.AsyncClient, asked: str, status: int
) -> None:
    url = f"{TASKS}/{await created(client)}"
    tag = (await client.get(url)).headers["etag"]
    strong = tag.removeprefix("W/")
    for known in (tag, strong):
        assert (await again(client, url, asked.format(known))).status_code == status


async def test_a_change_that_a_prefix_does_not_show_is_no_news_there(
    client: httpx.AsyncClient, store: SqliteStore
) -> None:
    task_id = await created(client)
    await bring(store, task_id, State.RUNNING)
    older, current = f"{OLDER}/tasks/{task_id}", f"{TASKS}/{task_id}"
    tags = [(await client.get(url)).headers["etag"] for url in (older, current)]
    await client.post(f"{current}:cancel")
    assert (await again(client, older, tags[0])).status_code == 304
    assert (await again(client, current, tags[1])).status_code == 200
