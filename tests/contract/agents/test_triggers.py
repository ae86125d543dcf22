"""Triggers and the control topic, over a store and the bus within the process."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tesp.agents.listening import Ear, listen
from tesp.agents.tenure import Tenure
from tesp.agents.triggers import triggers_of
from tesp.bus import Delivery, Message, tael
from tesp.bus.memory import MemoryBus
from tesp.errors import SettingsError, UnsupportedUrl
from tesp.events import Event
from tesp.settings import TriggerSettings, parse
from tesp.store.admission import Admission
from tesp.store.sqlite import SqliteStore
from tesp.tes.models import FileType, TaskSubmission
from tesp.tes.rules import Limits
from tesp.tes.states import State
from tesp.tes.views import View, submission_of
from tests.contract.waiting import until

HOSTILE = "$(rm -rf /); `reboot` {other}"
TEMPLATE = {
    "name": "on {target}",
    "executors": [{"image": "i", "command": ["true"], "env": {"TARGET": "{target}"}}],
}


def check_url(url: str, writing: bool, type: FileType | None) -> None:
    if not url.startswith("s3://"):
        raise UnsupportedUrl(f"{url}: say s3://")


ADMISSION = Admission(Limits(), check_url)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "tesp.db")
    yield store
    await store.close()


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


def settings(**keys: Any) -> TriggerSettings:
    keys = {"name": "t", "topic": "site/+/status", **keys}
    if not {"command", "task_file"} & set(keys):
        keys.setdefault("task", TEMPLATE)
    return parse({"triggers": [keys]}).triggers[0]


def message(name: str = "m1", hops: int = 0, topic: str = "site/a/status", **said: Any) -> Message:
    return Message(topic, {"target": "M31", **said}, name, 1.0, f"cause-{name}", hops)


def delivery(one: Message, trusted: bool = True, retained: bool = False) -> Delivery:
    return Delivery(one, b"", trusted, retained)


async def take(store: SqliteStore, one: TriggerSettings, *deliveries: Delivery) -> None:
    (trigger,) = triggers_of([one], store, ADMISSION)
    for each in deliveries:
        await trigger.take(each)


async def events(store: SqliteStore) -> list[Event]:
    await store.relay()
    return [logged.event for logged in await store.read(0)]


async def submitted(store: SqliteStore, task: str) -> TaskSubmission:
    found = await store.get(task, View.FULL)
    assert found
    return submission_of(found.body)


async def test_a_message_starts_a_task_of_its_cause(store: SqliteStore) -> None:
    await take(store, settings(owner="alice"), delivery(message(target=HOSTILE, hops=2)))
    (event,) = await events(store)
    assert (event.owner, event.state, event.name) == ("alice", State.QUEUED, f"on {HOSTILE}")
    assert (event.correlation, event.hops) == ("cause-m1", 3)
    task = await submitted(store, event.task)
    assert task.executors[0].env == {"TARGET": HOSTILE}
    assert task.executors[0].command == ["true"]
    assert task.tags == {"trigger": "t"}


async def test_a_message_that_comes_again_starts_nothing_twice(store: SqliteStore) -> None:
    one = settings()
    await take(store, one, *[delivery(message())] * 2)
    # After a restart nothing but the store knows of it.
    await take(store, one, delivery(message()))
    assert len(await events(store)) == 1
    await take(store, one, delivery(message("m2")))
    await take(store, settings(name="other"), delivery(message()))
    assert len(await events(store)) == 3


@pytest.mark.parametrize(
    ("keys", "came", "why"),
    [
        ({}, delivery(message(), trusted=False), "nobody vouches for"),
        ({}, delivery(message(), retained=True), "of an earlier time"),
        ({}, delivery(message(hops=8)), "after 8 hops"),
        ({}, delivery(message(target=None)), "asks for target"),
        ({}, delivery(message(target="a\0b")), "NUL"),
        ({"when": {"target": "M33"}}, delivery(message()), ""),
        (
            {"task": {**TEMPLATE, "outputs": [{"path": "/o/a", "url": "s3://b/{target}"}]}},
            delivery(message(target="../other")),
            "another directory",
        ),
    ],
)
async def test_what_starts_nothing_says_so(
    store: SqliteStore,
    caplog: pytest.LogCaptureFixture,
    keys: dict[str, Any],
    came: Delivery,
    why: str,
) -> None:
    await take(store, settings(**keys), came)
    assert await events(store) == []
    assert why in caplog.text
    # And the next one is heard.
    good = message("good", target="M33")
    await take(store, settings(**keys), delivery(good))
    assert len(await events(store)) == 1


async def test_whoever_it_is_starts_something_where_the_settings_say_so(
    store: SqliteStore,
) -> None:
    await take(store, settings(trusted_only=False), delivery(message(), trusted=False))
    assert len(await events(store)) == 1


def test_a_template_that_no_message_could_make_run_stops_the_start(store: SqliteStore) -> None:
    task = {**TEMPLATE, "inputs": [{"path": "/i", "url": "gopher://x/{target}"}]}
    with pytest.raises(SettingsError, match=r"triggers: t: task: inputs\[0\]\.url: .*s3"):
        triggers_of([settings(task=task)], store, ADMISSION)


async def test_a_template_may_be_a_file(store: SqliteStore, tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text(json.dumps(TEMPLATE))
    await take(store, settings(task_file=file), delivery(message()))
    assert [event.name for event in await events(store)] == ["on M31"]


def program(*lines: str) -> list[str]:
    return ["bash", "-c", "\n".join(lines)]


async def test_a_command_sees_the_message_in_its_environment_alone(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESP_PULSARS__0__TOKEN", "geheim")
    out = tmp_path / "out"
    one = settings(command=program(f"env -0 > {out}"))
    said = {"PATH": "/evil", "target": HOSTILE, "LD_PRELOAD": "/evil.so", "BASH_FUNC_x%%": "()"}
    await take(store, one, delivery(message(**said)))
    seen = dict(line.split("=", 1) for line in out.read_text().split("\0") if line)
    assert seen["TAEL_TARGET"] == HOSTILE
    assert (seen["TAEL_PATH"], seen["TAEL_LD_PRELOAD"]) == ("/evil", "/evil.so")
    assert "/evil" not in seen["PATH"]
    assert "LD_PRELOAD" not in seen
    assert "geheim" not in out.read_text()
    assert (seen["TAEL_MESSAGE_ID"], seen["TAEL_HOPS"]) == ("m1", "0")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"command": program("echo no telescope; exit 3")}, "failed with 3"),
        ({"command": program("echo no telescope; exit 3")}, "no telescope"),
        ({"command": ["/no/such/program"]}, "starts nothing"),
        ({"command": program("echo slow; sleep 600"), "timeout_seconds": 0.3}, "was too slow"),
        ({"command": program("kill -9 $$")}, "failed with -9"),
    ],
)
async def test_a_command_that_fails_is_told_of_and_the_next_one_runs(
    store: SqliteStore, caplog: pytest.LogCaptureFixture, keys: dict[str, Any], said: str
) -> None:
    caplog.set_level(logging.INFO)
    one = settings(**keys)
    await take(store, one, delivery(message()), delivery(message("m2")))
    assert caplog.text.count(said) == 2


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def relayed(store: SqliteStore, bus: MemoryBus, after: int = 0) -> None:
    """Publish the log for ever, as the service does."""
    while True:
        await store.relay()
        for logged in await store.read(after):
            after, event = logged.sequence, logged.event
            await bus.publish([tael.message(event, "tesp")])
        await asyncio.sleep(0.005)


async def test_a_trigger_on_the_events_of_its_own_tasks_ends_after_eight(
    store: SqliteStore, bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    loop = settings(
        topic="tesp/infrastructure/pipelines/+/status",
        when={"status": "queued"},
        task={"name": "again", "executors": [{"image": "i", "command": ["true"]}]},
    )
    listeners = [one.listener() for one in triggers_of([loop], store, ADMISSION)]
    async with running(listen(listeners, [bus], lambda: relayed(store, bus))):
        first = ADMISSION.task(submission_of(BODY), "alice", None)
        await store.create(first)

        async def ended() -> bool:
            return "it ends here" in caplog.text

        await until(ended)
        logged = await events(store)
    assert [event.hops for event in logged] == [*range(9)]
    assert {event.correlation for event in logged} == {first.id}


BODY = '"name":"again","executors":[{"image":"i","command":["true"]}]'


async def test_a_slow_command_is_in_no_other_triggers_way(
    store: SqliteStore, bus: MemoryBus, tmp_path: Path
) -> None:
    slow = settings(name="slow", command=program(f"touch {tmp_path}/begun; sleep 600"))
    listeners = [one.listener() for one in triggers_of([slow, settings()], store, ADMISSION)]
    async with running(listen(listeners, [bus])):
        await asyncio.sleep(0)

        async def both() -> bool:
            await bus.publish([message()])
            return (tmp_path / "begun").exists() and len(await events(store)) == 1

        await until(both)


async def test_what_comes_beside_the_buses_is_handed_on_as_trusted_as_it_came(
    store: SqliteStore,
) -> None:
    rules = [settings(), settings(name="open", trusted_only=False), settings(name="o", topic="b")]
    listeners = [one.listener() for one in triggers_of(rules, store, ADMISSION)]
    for one in listeners:
        if one.wants(message()):
            await Ear(one, trusted=False).publish([message()])
    (event,) = await events(store)
    assert (await submitted(store, event.task)).tags == {"trigger": "open"}


async def test_of_two_processes_one_listens_and_the_other_takes_over(store: SqliteStore) -> None:
    begun: list[str] = []

    def turn(holder: str, seconds: float = 0.3) -> Awaitable[None]:
        async def work() -> None:
            begun.append(holder)
            await asyncio.Event().wait()

        return Tenure(store, "listeners", holder, seconds).work(work)

    async def has(count: int) -> bool:
        return len(begun) >= count

    first = asyncio.ensure_future(turn("one", 60))
    await until(lambda: has(1))
    async with running(turn("two")):
        assert not await store.hold("listeners", "three", 0.3)
        assert begun == ["one"]
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await until(lambda: has(2))
    assert begun == ["one", "two"]


async def test_a_message_that_two_brokers_bring_at_once_runs_its_command_once(
    store: SqliteStore, tmp_path: Path
) -> None:
    counted = tmp_path / "count"
    (trigger,) = triggers_of(
        [settings(command=program(f"echo >> {counted}; sleep 0.2"))], store, ADMISSION
    )
    await asyncio.gather(*(trigger.take(delivery(message())) for _ in range(2)))
    assert counted.read_text() == "\n"


async def test_what_a_command_leaves_behind_goes_on(store: SqliteStore, tmp_path: Path) -> None:
    gone_on = tmp_path / "gone-on"
    behind = f"(sleep 0.3; touch {gone_on}) >/dev/null 2>&1 &"
    await take(store, settings(command=program(behind, "exit 0")), delivery(message()))

    async def is_there() -> bool:
        return gone_on.exists()

    await until(is_there)
