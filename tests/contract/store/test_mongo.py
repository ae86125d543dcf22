"""What only the MongoDB store has: several processes on one database, a server that dies."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from tesp.errors import StoreError
from tesp.store import Change, IdempotencyKey, TaskQuery, Written
from tesp.store.mongo import MongoStore
from tesp.store.mongo.pages import drivers_of
from tesp.store.mongo.texts import INLINE_BYTES, MOST_BYTES
from tesp.tes.states import State, Transition
from tesp.tes.views import Text, View
from tests.contract.store.samples import (
    BODY,
    GONE,
    LOGS,
    LONG,
    a_task,
    claimed,
    due,
    full,
    ids_in_order,
    running,
    state_of,
    stored,
)
from tests.contract.waiting import PATIENCE, until
from tests.peers.environments import program
from tests.peers.room import Room, answers, free_port

Database = Any


@pytest_asyncio.fixture
async def one(mongodb_uri: str, mongodb_database: str) -> AsyncIterator[MongoStore]:
    """A store."""
    store = await MongoStore.open(mongodb_uri, mongodb_database)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def two(mongodb_uri: str, mongodb_database: str) -> AsyncIterator[MongoStore]:
    """Another one on the same database, as another process has it."""
    store = await MongoStore.open(mongodb_uri, mongodb_database)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def database(mongodb_uri: str, mongodb_database: str) -> AsyncIterator[Database]:
    """The same database past the store."""
    async with AsyncMongoClient[dict[str, Any]](mongodb_uri) as client:
        yield client[mongodb_database]


async def test_of_two_processes_that_claim_each_task_has_one(
    one: MongoStore, two: MongoStore
) -> None:
    ids = [await stored(one) for _ in range(10)]

    claims = await asyncio.gather(
        *(store.claim(i, "local", "h", LONG) for i in ids for store in (one, two))
    )

    assert sorted(c.fence.task_id for c in claims if c) == sorted(ids)


async def test_the_attempt_of_a_process_that_died_is_adopted_by_the_other(
    one: MongoStore, two: MongoStore
) -> None:
    claim = await running(one, seconds=GONE)

    (adopted,) = await until(lambda: two.adopt(["local"], "other", LONG))

    assert adopted.fence.epoch > claim.fence.epoch
    assert (await one.write(claim.fence, Change(Transition.COMPLETE))).lost
    assert (await two.write(adopted.fence, Change(Transition.COMPLETE))).applied


async def test_the_change_of_one_process_wakes_the_other(one: MongoStore, two: MongoStore) -> None:
    while await two.changed(0.1):
        pass
    waiting = asyncio.create_task(two.changed(PATIENCE))
    await asyncio.sleep(0)

    await stored(one)

    assert await waiting


async def test_two_relays_at_once_log_every_event_once_and_in_order(
    one: MongoStore, two: MongoStore
) -> None:
    claims = [await running(one) for _ in range(8)]

    async def relay(store: MongoStore) -> None:
        while len(await store.read(0)) < 24:
            await store.relay(limit=5)

    await asyncio.gather(relay(one), relay(two))

    log = await one.read(0)
    assert [entry.sequence for entry in log] == list(range(1, 25))
    for claim in claims:
        mine = [e.event for e in log if e.event.task == claim.fence.task_id]
        assert mine == await one.history(claim.fence.task_id)


async def test_an_event_that_was_logged_but_not_marked_is_not_logged_again(
    one: MongoStore, database: Database
) -> None:
    claim = await claimed(one)
    await one.relay()
    log = await one.read(0)
    # As a relay leaves it that dies between the two writes.
    await database.tasks.update_one(
        {"_id": claim.fence.task_id}, {"$set": {"relayed": 0, "outbox": 1}}
    )
    await one.write(claim.fence, Change(Transition.START))

    while await one.relay():
        pass

    assert (await one.read(0))[:2] == log
    assert [e.event.state for e in await one.read(0)] == [
        State.QUEUED,
        State.INITIALIZING,
        State.RUNNING,
    ]


async def test_a_lease_that_a_crash_left_before_the_claim_blocks_for_its_time_alone(
    one: MongoStore, database: Database
) -> None:
    task_id = await stored(one)
    lease = {"_id": task_id, "epoch": 3, "holder": "dead", "backend": "local", "expires": 2**52}
    await database.leases.insert_one(lease)
    assert await one.claim(task_id, "local", "me", LONG) is None
    await database.leases.update_one({"_id": task_id}, {"$set": {"expires": 1}})

    claim = await one.claim(task_id, "local", "me", LONG)

    assert claim is not None
    assert claim.fence.epoch > 3


async def test_an_adopter_that_died_before_it_told_the_task_is_followed_by_the_next(
    one: MongoStore, database: Database
) -> None:
    claim = await running(one, seconds=0)
    task_id = claim.fence.task_id
    await database.leases.update_one({"_id": task_id}, {"$inc": {"epoch": 1}})

    (adopted,) = await one.adopt(["local"], "other", LONG)

    assert adopted.fence.epoch == claim.fence.epoch + 2
    assert (await one.write(claim.fence, Change(logs=LOGS))).lost
    assert (await one.write(adopted.fence, Change(logs=LOGS))).applied


async def test_the_lease_of_an_attempt_that_ended_is_cleaned_up_by_an_adopter(
    one: MongoStore, database: Database
) -> None:
    claim = await running(one)
    task_id = claim.fence.task_id
    lease = await database.leases.find_one({"_id": task_id})
    await one.write(claim.fence, Change(Transition.COMPLETE))
    assert await database.leases.count_documents({}) == 0
    await database.leases.insert_one({**lease, "expires": 1})

    assert await one.adopt(["local"], "other", LONG) == []

    assert await database.leases.count_documents({}) == 0
    assert await state_of(one, task_id) is State.COMPLETE


async def test_a_retry_whose_lease_was_not_given_back_can_be_claimed(
    one: MongoStore, database: Database
) -> None:
    claim = await running(one)
    task_id = claim.fence.task_id
    lease = await database.leases.find_one({"_id": task_id})
    await one.write(claim.fence, Change(Transition.RETRY))
    await database.leases.replace_one({"_id": task_id}, lease)

    again = await one.claim(task_id, "local", "me", LONG)

    assert again is not None
    assert again.attempt.number == 2


@pytest.mark.parametrize("transition", Transition)
async def test_a_worker_whose_attempt_is_to_be_tried_again_can_write_nothing(
    one: MongoStore, transition: Transition
) -> None:
    claim = await running(one)
    await one.write(claim.fence, Change(Transition.RETRY))

    written = await one.write(claim.fence, Change(transition))

    assert written == Written(State.QUEUED, applied=False, lost=True)


async def test_a_key_that_is_a_day_old_makes_a_new_task(
    one: MongoStore, database: Database
) -> None:
    first = await stored(one, idempotency=IdempotencyKey("k", "one"))
    await database.tasks.update_one({"_id": first}, {"$set": {"idempotency.expires": 1}})

    second = await stored(one, idempotency=IdempotencyKey("k", "two"))

    assert second != first
    assert await state_of(one, first) is State.QUEUED


async def test_a_large_text_is_kept_apart_and_shown_the_same(
    one: MongoStore, database: Database
) -> None:
    large = Text(f'"name":"{"é" * INLINE_BYTES}"', '"name":"b"')
    claim = await running(one, body=large)
    task_id = claim.fence.task_id
    assert claim.body == large
    assert len((await database.tasks.find_one({"_id": task_id}))["body"]) == 2

    logs = Text(json.dumps([{"logs": [], "system_logs": ["x" * INLINE_BYTES]}]))
    for _ in range(2):
        await one.write(claim.fence, Change(logs=logs))

    assert (await full(one, task_id)).body == large.full
    page = await one.page(TaskQuery(view=View.BASIC))
    assert [(t.body, t.logs) for t in page.tasks] == [(large.basic, logs.full)]
    assert await database.texts.count_documents({}) == 2


async def test_a_text_above_what_mongodb_holds_is_refused_and_leaves_nothing(
    one: MongoStore, database: Database
) -> None:
    with pytest.raises(StoreError, match="by url"):
        await stored(one, body=Text("x" * (MOST_BYTES + 1)))

    assert await due(one) == []
    assert await database.texts.count_documents({}) == 0


async def test_a_renewal_and_a_tail_do_not_touch_the_tasks_document(
    one: MongoStore, database: Database
) -> None:
    claim = await running(one)
    before = await database.tasks.find_one({"_id": claim.fence.task_id})

    await one.renew([claim.fence], LONG)
    await one.tail(claim.fence, {"executor.0.stdout": "x"})

    assert await database.tasks.find_one({"_id": claim.fence.task_id}) == before


async def test_every_index_is_made_and_the_right_ones_are_unique(
    one: MongoStore, database: Database
) -> None:
    indexes = {
        name: await database[name].index_information()
        for name in ("tasks", "leases", "tails", "log")
    }

    assert set(indexes["tasks"]) == {
        "_id_",
        "by_owner",
        "by_state",
        "by_owner_state",
        "by_name",
        "by_tag",
        "by_tag_key",
        "queued",
        "unrelayed",
        "idempotency",
    }
    assert indexes["tasks"]["idempotency"]["unique"]
    assert indexes["tasks"]["queued"]["partialFilterExpression"] == {"state": "QUEUED"}
    assert indexes["log"]["by_sequence"]["unique"]
    assert indexes["tails"]["forgotten"]["expireAfterSeconds"] == 7 * 86400
    assert "by_expiry" in indexes["leases"]


@pytest.mark.parametrize(
    "query",
    [
        TaskQuery(owner="ann"),
        TaskQuery(states=frozenset({State.QUEUED, State.RUNNING})),
        TaskQuery(owner="ann", states=frozenset({State.QUEUED})),
        TaskQuery(tags=(("k", "v"),)),
        TaskQuery(tags=(("k", None),)),
        TaskQuery(name_prefix="n"),
    ],
)
async def test_every_filter_of_a_page_is_answered_by_the_index_that_it_names(
    one: MongoStore, database: Database, query: TaskQuery
) -> None:
    await stored(one, name="n", tags={"k": "v"})
    driver = drivers_of(query)[0]

    plan = await database.tasks.find(driver.match).hint(driver.index).limit(1).explain()

    winning = json.dumps(plan["queryPlanner"]["winningPlan"], default=str)
    assert f'"indexName": "{driver.index}"' in winning
    assert "COLLSCAN" not in winning
    assert [t.id for t in (await one.page(query)).tasks] == await due(one)


async def test_a_server_that_is_not_there_is_a_store_error() -> None:
    uri = f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=300"

    with pytest.raises(StoreError, match="out of reach"):
        await MongoStore.open(uri, "tesp")


class Server:
    """A server of one test that can be killed and started again on the same data."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._port = free_port()
        (room.directory / "secantusd.toml").touch()
        self.uri = f"mongodb://127.0.0.1:{self._port}"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        directory = self._room.directory
        argv = [
            *(program("mongodb", "secantusd-py"), "--config", directory / "secantusd.toml"),
            *("--host", "127.0.0.1", "--port", str(self._port)),
            *("--storage-path", directory / "data", "--log-level", "WARNING"),
        ]
        with (directory / "server.log").open("ab") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log)
        self._room.wait_until(lambda: answers(self._port), "secantusd answers")
        return process

    def kill(self) -> None:
        """As if the power went."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def restart(self) -> None:
        """Start again on the same data."""
        self._process = self._start()


async def test_a_server_that_is_killed_loses_no_acknowledged_write_and_is_found_again() -> None:
    with Room.temporary() as room:
        server = Server(room)
        try:
            store = await MongoStore.open(server.uri, "tesp")
            await store.changed(0)
            claims = [await running(store, id=i) for i in ids_in_order(5)]
            acknowledged: list[str] = []

            async def submit() -> None:
                while True:
                    acknowledged.append(await stored(store, body=BODY))

            submitting = asyncio.create_task(submit())

            async def enough() -> bool:
                return len(acknowledged) >= 20

            await until(enough)
            server.kill()
            submitting.cancel()
            await asyncio.gather(submitting, return_exceptions=True)
            server.restart()

            assert set(acknowledged) <= set(await due(store))
            for claim in claims:
                assert (await store.write(claim.fence, Change(Transition.COMPLETE))).applied
            assert await store.changed(PATIENCE)
            while await store.changed(0.5):
                pass
            waiting = asyncio.create_task(store.changed(PATIENCE))
            await store.create(a_task())
            assert await waiting
            await store.close()
        finally:
            server.kill()
