"""A real service tells of its tasks: to followers, to the site's URL, to the task's own."""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tesp.signature import refusal
from tests.peers.event_stream import EventStream
from tests.peers.hook_server import HookServer
from tests.peers.room import wait_until
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer

SECRET = "0123456789abcdef"
STATES = ["QUEUED", "INITIALIZING", "RUNNING", "COMPLETE"]
TASK: dict[str, Any] = {"name": "n", "executors": [{"image": "i", "command": ["true"]}]}


@pytest.fixture
def hooks() -> Iterator[HookServer]:
    server = HookServer()
    yield server
    server.close()


def with_hooks(hooks: HookServer) -> dict[str, Any]:
    target = {"name": "site", "url": f"{hooks.url}/site", "secret": SECRET}
    return {
        "targets": [target],
        "callback_hosts": ["127.0.0.1"],
        "callback_secret": SECRET,
    }


def called_back(hooks: HookServer, path: str) -> dict[str, Any]:
    parameters = {"callback_url": f"{hooks.url}{path}"}
    return {**TASK, "resources": {"backend_parameters": parameters}}


def states_at(hooks: HookServer, path: str) -> list[str]:
    return [posted.payload["state"] for posted in hooks.taken(path)]


def test_a_task_is_told_of_everywhere_and_a_receiver_that_was_away_misses_nothing(
    start_server: StartServer, store_settings: dict[str, Any], hooks: HookServer
) -> None:
    server = start_server(store=store_settings, webhooks=with_hooks(hooks))
    headers = {"X-Correlation-ID": "cause", "Tesp-Hops": "1"}
    with EventStream(f"{server.url}/events") as stream:
        made = server.client.post("/tasks", json=called_back(hooks, "/own"), headers=headers)
        task_id = made.json()["id"]
        sent = stream.take(4)
    assert [s.payload["state"] for s in sent] == STATES
    assert {s.payload["correlation_id"] for s in sent} == {"cause"}
    assert {s.payload["task"] for s in sent} == {task_id}

    assert server.stop() == 0
    server.start()
    hooks.open()
    for path in ("/site", "/own"):
        wait_until(lambda path=path: len(hooks.taken(path)) >= 4, path)
        assert states_at(hooks, path) == STATES
        for posted, told in zip(hooks.taken(path), sent, strict=True):
            assert posted.payload == told.payload
            header = posted.headers["Tesp-Signature"]
            assert refusal(SECRET.encode(), header, posted.body, time.time()) is None


def test_service_info_tells_of_callbacks_where_they_are_allowed(
    start_server: StartServer, hooks: HookServer
) -> None:
    server = start_server(webhooks=with_hooks(hooks))
    info = server.client.get("/service-info").json()
    refused = server.client.post(
        "/tasks",
        json={**TASK, "resources": {"backend_parameters": {"callback_url": "http://evil.net"}}},
    )
    assert "callback_url" in info["tesResources_backend_parameters"]
    assert refused.status_code == 400
    assert "127.0.0.1" in refused.json()["detail"]


def test_an_api_without_a_dispatcher_is_followed_too(
    start_server: StartServer, mongodb_uri: str, mongodb_database: str
) -> None:
    store = {"kind": "mongodb", "mongodb_uri": mongodb_uri, "database": mongodb_database}
    api = start_server(role="api", store=store)
    start_server(role="dispatcher", store=store)

    asyncio.run(_followed(api))


async def _followed(api: TespServer) -> None:
    async with connect(f"ws{api.url[4:]}/events/ws") as socket:
        made = await asyncio.to_thread(api.client.post, "/tasks", json=TASK)
        told = [json.loads(await asyncio.wait_for(socket.recv(), 30)) for _ in STATES]
    assert [one["state"] for one in told] == STATES
    assert {one["task"] for one in told} == {made.json()["id"]}
    with EventStream(f"{api.url}/events", last_id=str(told[1]["sequence"])) as stream:
        assert [sent.payload["state"] for sent in stream.take(2)] == STATES[2:]


def test_who_follows_does_not_hold_up_the_end_of_the_service(start_server: StartServer) -> None:
    server = start_server()
    with EventStream(f"{server.url}/events") as stream:
        assert server.stop() == 0
        assert stream.take(1) == []
    # Who is cut off because he would not go is told nothing.
    assert stream.comments == ["the service ends"]
