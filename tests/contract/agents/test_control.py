"""The control topic, over a store."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tesp.agents.control import Control
from tesp.bus import Delivery, Message, tael
from tesp.settings import ControlSettings
from tesp.store import Change
from tesp.store.admission import Admission
from tesp.store.sqlite import SqliteStore
from tesp.tes.models import TaskSubmission
from tesp.tes.rules import Limits
from tesp.tes.states import State, Transition
from tesp.tes.views import View, submission_of

SECRET = "sesame open"
ADMISSION = Admission(Limits(), lambda url, writing, type: None)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "tesp.db")
    yield store
    await store.close()


def order(
    action: object, pipeline: str = "elan", name: str = "o1", hops: int = 0, **said: Any
) -> Message:
    topic = tael.control_topic("tesp", pipeline)
    return Message(topic, {"action": action, **said}, name, 1.0, "cause", hops)


async def obey(
    store: SqliteStore,
    message: Message,
    trusted: bool = True,
    retained: bool = False,
    secret: str | None = None,
) -> None:
    keys = ControlSettings.model_validate({"enabled": True, "secret": secret})
    control = Control(keys, "tesp", store, ADMISSION)
    await control.take(Delivery(message, b"", trusted, retained))


async def made(store: SqliteStore, name: str | None, *steps: Transition) -> str:
    body = {
        "executors": [{"image": "i", "command": ["true"]}],
        "inputs": [{"path": "/in/a", "content": "whole"}],
        "tags": {"a": "b"},
        **({} if name is None else {"name": name}),
    }
    submission = TaskSubmission.model_validate_json(json.dumps(body))
    task = await store.create(ADMISSION.task(submission, "alice", None))
    if steps:
        claim = await store.claim(task, "local", "h", 60)
        assert claim
        for step in steps:
            written = await store.write(claim.fence, Change(step))
            assert written.applied
    return task


FAILED = (Transition.START, Transition.EXECUTOR_FAILED)
DONE = (Transition.START, Transition.COMPLETE)


async def state_of(store: SqliteStore, task: str) -> State:
    found = await store.get(task, View.MINIMAL)
    assert found
    return found.state


async def raised(store: SqliteStore) -> list[tuple[str, str]]:
    """Tasks that were raised: from which, and their ids."""
    await store.relay()
    found = []
    for task in dict.fromkeys(logged.event.task for logged in await store.read(0)):
        text = await store.get(task, View.FULL)
        assert text
        origin = (submission_of(text.body).tags or {}).get("raised_from")
        found += [(origin, task)] if origin else []
    return found


async def test_raise_makes_the_last_failed_task_of_that_name_anew(store: SqliteStore) -> None:
    await made(store, "elan", *FAILED)
    last = await made(store, "elan", *FAILED)
    await made(store, "elan", *DONE)
    await made(store, "elan2", *FAILED)
    await made(store, None, *FAILED)
    await obey(store, order("raise", hops=1))
    ((origin, new),) = await raised(store)
    assert origin == last
    text = await store.get(new, View.FULL)
    assert text
    task = submission_of(text.body)
    assert task.tags == {"a": "b", "raised_from": last}
    assert task.inputs and task.inputs[0].content == "whole"
    event = (await store.history(new))[0]
    assert (event.owner, event.name, event.state) == ("alice", "elan", State.QUEUED)
    assert (event.correlation, event.hops) == ("cause", 2)


async def test_an_order_that_comes_again_raises_nothing_twice(store: SqliteStore) -> None:
    await made(store, "elan", *FAILED)
    await obey(store, order("raise"))
    await obey(store, order("raise"))
    assert len(await raised(store)) == 1
    await obey(store, order("raise", name="o2"))
    assert len(await raised(store)) == 2
    # Whoever gives no id says the same of another failure, and means that one.
    later = await made(store, "elan", *FAILED)
    await obey(store, order("raise"))
    assert [origin for origin, _ in await raised(store)][2:] == [later]


async def test_cancel_ends_every_task_of_that_name_and_no_other(store: SqliteStore) -> None:
    queued = await made(store, "elan")
    begun = await made(store, "elan", Transition.START)
    done = await made(store, "elan", *DONE)
    others = [await made(store, name) for name in ("elan2", "Elan", "tasks", None)]
    await obey(store, order("cancel"))
    assert await state_of(store, queued) is State.CANCELED
    assert await state_of(store, begun) is State.CANCELING
    assert await state_of(store, done) is State.COMPLETE
    assert {await state_of(store, other) for other in others} == {State.QUEUED}


async def test_what_tells_of_itself_as_tasks_is_found_by_that_word(store: SqliteStore) -> None:
    named = [await made(store, name) for name in ("elan", "tasks2", "_")]
    nameless = [await made(store, name) for name in (None, "tasks")]
    empty = await made(store, "", Transition.START)
    await obey(store, order("cancel", pipeline=tael.who(None)))
    assert {await state_of(store, task) for task in nameless} == {State.CANCELED}
    assert await state_of(store, empty) is State.CANCELING
    assert {await state_of(store, task) for task in named} == {State.QUEUED}


async def test_raise_finds_the_last_failed_task_without_a_name(store: SqliteStore) -> None:
    await made(store, None, *FAILED)
    last = await made(store, None, *FAILED)
    await made(store, "elan", *FAILED)
    await obey(store, order("raise", pipeline="tasks"))
    ((origin, new),) = await raised(store)
    assert origin == last
    assert (await store.history(new))[0].name is None


async def test_a_name_of_signs_that_no_topic_has_is_found(store: SqliteStore) -> None:
    hidden = [await made(store, name) for name in ("+", "/", "\n", "_")]
    others = [await made(store, name) for name in (None, "++", "elan")]
    await obey(store, order("cancel", pipeline="_"))
    assert {await state_of(store, task) for task in hidden} == {State.CANCELED}
    assert {await state_of(store, task) for task in others} == {State.QUEUED}


async def test_a_name_that_is_no_topic_is_found_as_its_events_have_it(
    store: SqliteStore,
) -> None:
    names = ["a/b+c.d", "#", "x" * 300, "é" * 80]
    tasks = [await made(store, name) for name in names]
    for name in names:
        await obey(store, order("cancel", pipeline=name))
    assert {await state_of(store, task) for task in tasks} == {State.CANCELED}


@pytest.mark.parametrize(
    ("message", "keys", "said"),
    [
        (order("cancel"), {"trusted": False}, "nobody vouches"),
        (order("cancel", secret=""), {"trusted": False}, "nobody vouches"),
        (order("cancel"), {"secret": SECRET}, "does not say the secret"),
        (order("cancel", secret=None), {"secret": SECRET}, "does not say the secret"),
        (order("cancel", secret="x"), {"trusted": False, "secret": SECRET}, "does not say"),
        (order("cancel", secret=5), {"trusted": False, "secret": SECRET}, "does not say"),
        (order("cancel"), {"retained": True}, "of an earlier time"),
        (order("cancel", hops=8), {}, "after 8 hops"),
        (order("explode"), {}, "no action 'explode'"),
        (order(None), {}, "no action None"),
        (order("raise"), {}, "no task of that name has failed"),
    ],
)
async def test_what_is_not_obeyed_is_logged_and_does_nothing(
    store: SqliteStore,
    caplog: pytest.LogCaptureFixture,
    message: Message,
    keys: dict[str, Any],
    said: str,
) -> None:
    caplog.set_level(logging.INFO)
    task = await made(store, "elan")
    await obey(store, message, **keys)
    assert await state_of(store, task) is State.QUEUED
    assert said in caplog.text
    assert SECRET not in caplog.text


async def test_who_says_the_secret_is_obeyed(
    store: SqliteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    task = await made(store, "elan")
    message = order("cancel", secret=SECRET)
    await obey(store, message, trusted=False, secret=SECRET)
    assert await state_of(store, task) is State.CANCELED
    assert SECRET not in caplog.text
