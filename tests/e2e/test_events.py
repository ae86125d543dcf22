"""Every change of a task's state is an event in the log, in order, whatever the store."""

from typing import Any

import pytest

from tesp.store import Store
from tesp.store.mongo import MongoStore
from tesp.store.sqlite import SqliteStore
from tests.peers.server_fixtures import StartServer
from tests.peers.tesp_server import TespServer


@pytest.fixture
def server(start_server: StartServer, store_settings: dict[str, Any]) -> TespServer:
    return start_server(store=store_settings)


async def store_of(server: TespServer, settings: dict[str, Any]) -> Store:
    if settings["kind"] == "sqlite":
        return await SqliteStore.open(server.data / "tesp.db")
    return await MongoStore.open(settings["mongodb_uri"], settings["database"])


async def test_the_states_of_a_task_are_relayed_to_the_log(
    server: TespServer, store_settings: dict[str, Any]
) -> None:
    good = server.run({"name": "n", "executors": [{"image": "i", "command": ["true"]}]})["id"]
    bad = server.run({"executors": [{"image": "i", "command": ["false"]}]})["id"]
    server.stop()
    store = await store_of(server, store_settings)
    try:
        await store.relay()
        logged = await store.read(0)
        assert [e.sequence for e in logged] == sorted({e.sequence for e in logged})
        states = {
            task: [(e.event.number, e.event.state) for e in logged if e.event.task == task]
            for task in (good, bad)
        }
        begun = [(1, "QUEUED"), (2, "INITIALIZING"), (3, "RUNNING")]
        assert states[good] == [*begun, (4, "COMPLETE")]
        assert states[bad] == [*begun, (4, "EXECUTOR_ERROR")]
        last = [e.event for e in logged if e.event.task == bad][-1]
        assert "exit code 1" in str(last.reason)
        assert await store.history(good) == [e.event for e in logged if e.event.task == good]
    finally:
        await store.close()
