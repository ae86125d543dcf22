"""The brokers of docker/ let each user do what is his, and nothing else. What counts is what
arrives: a broker may confirm what it denies."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from aiormq.exceptions import ChannelAccessRefused

from tesp.bus import Bus, Message, brokers, prodiguer, tael
from tesp.events import Event
from tesp.settings import BrokerSettings
from tesp.tes.states import State
from tests.peers.guarded_brokers import USERS, GuardedMosquitto, GuardedRabbitmq, password_of
from tests.peers.mqtt_party import Party
from tests.peers.room import wait_until

PIPELINES = "infrastructure/pipelines"
TASK, ORDER = f"tesp/{PIPELINES}/align/status", f"tesp/{PIPELINES}/align/control"
LETTER = "tesp/agents/night/alert"
TOLD, BID = f"site/{PIPELINES}/elan/status", f"site/{PIPELINES}/elan/control"
SENT, BEACON = "site/elan/status", "site/test/beacon/status"
DEEPER = f"site/{PIPELINES}/elan/status/control"
WRITES = {
    "tesp": {TASK, ORDER, LETTER},
    "pipeline": {TOLD, SENT, BEACON},
    "operator": {ORDER, BID},
    "watcher": set[str](),
}
TOPICS = {TASK, ORDER, LETTER, TOLD, BID, SENT, BEACON}
READS = {
    "tesp": TOPICS,
    "pipeline": {TASK, TOLD, BID, SENT, BEACON},
    "operator": TOPICS,
    "watcher": TOPICS,
}


@pytest.fixture(params=["mosquitto", "rabbitmq"])
def mqtt_port(request: pytest.FixtureRequest) -> int:
    """Where MQTT is spoken: by Mosquitto, by RabbitMQ's plugin."""
    if request.param == "mosquitto":
        mosquitto: GuardedMosquitto = request.getfixturevalue("guarded_mosquitto")
        return mosquitto.port
    rabbitmq: GuardedRabbitmq = request.getfixturevalue("guarded_rabbitmq")
    return rabbitmq.mqtt_port


def say_all(port: int, words: str) -> None:
    """On each topic, by one who may; the last of them everybody may read."""
    allowed = {topic: user for user, topics in WRITES.items() for topic in topics}
    for topic in [*sorted(TOPICS - {TOLD}), TOLD]:
        with Party.at(port, allowed[topic]) as sender:
            sender.say(topic, words)


def test_nobody_writes_where_he_does_not_belong(mqtt_port: int) -> None:
    mark = uuid.uuid4().hex
    with Party.at(mqtt_port, "tesp") as observer:
        observer.hear("tesp/#", "site/#")
        for user in USERS:
            for topic in sorted({*TOPICS, DEEPER}):
                with Party.at(mqtt_port, user) as party:
                    party.say(topic, f"{mark} {user}")
        with Party.at(mqtt_port, "tesp") as party:
            party.say(TASK, f"{mark} end")
        wait_until(lambda: (TASK, f"{mark} end") in observer.heard, "all is heard")
    for user in USERS:
        assert {t for t, words in observer.heard if words == f"{mark} {user}"} == WRITES[user]


def test_nobody_reads_what_is_not_for_him(mqtt_port: int) -> None:
    mark = uuid.uuid4().hex
    wishes = [(user, f) for user in USERS for f in sorted({*TOPICS, "#", "tesp/#"})]
    with contextlib.ExitStack() as stack:
        parties = [(u, f, stack.enter_context(Party.at(mqtt_port, u))) for u, f in wishes]
        for _, pattern, party in parties:
            # What everybody may read comes last, and shows that all before it has come.
            party.hear(TOLD, pattern)
        say_all(mqtt_port, mark)
        for user, pattern, party in parties:
            ended = lambda p=party: p.is_gone or (TOLD, mark) in p.heard  # noqa: E731
            wait_until(ended, f"{user} has heard all on {pattern}")
        heard = [(u, f, {t for t, words in p.heard if words == mark}) for u, f, p in parties]
    for user, pattern, topics in heard:
        assert topics <= READS[user], pattern
        if pattern in READS[user]:
            assert pattern in topics


@pytest.mark.parametrize("name", ["", "guest", "tesp", "root"])
def test_who_has_no_password_does_not_come_in(mqtt_port: int, name: str) -> None:
    with Party.at(mqtt_port, name, password="guest") as party:
        assert party.is_gone


@contextlib.contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(ChannelAccessRefused):
        yield


@contextlib.asynccontextmanager
async def channel_of(rabbitmq: GuardedRabbitmq, user: str) -> Any:
    async with await aio_pika.connect(rabbitmq.url_of(user)) as connection:

        async def channel() -> AbstractChannel:
            return await connection.channel()

        yield channel


@pytest.mark.parametrize("login", ["guest:guest", "tesp:guest", "pulsar:", "nobody:guest"])
async def test_who_has_no_password_does_not_come_in_over_amqp(
    guarded_rabbitmq: GuardedRabbitmq, login: str
) -> None:
    for vhost in ("tesp", "/"):
        with pytest.raises(CONNECTION_EXCEPTIONS):
            await aio_pika.connect(f"amqp://{login}@127.0.0.1:{guarded_rabbitmq.port}/{vhost}")


async def test_a_pulsar_has_its_own_queues_and_no_others(guarded_rabbitmq: GuardedRabbitmq) -> None:
    async with (
        channel_of(guarded_rabbitmq, "tesp") as of_tesp,
        channel_of(guarded_rabbitmq, "pulsar") as of_pulsar,
    ):
        channel = await of_pulsar()
        exchange = await channel.declare_exchange("pulsar", durable=True)
        queue = await channel.declare_queue("pulsar__setup", durable=True)
        await queue.bind(exchange, "pulsar__setup")
        # The service sends the jobs.
        theirs = await (await of_tesp()).get_exchange("pulsar")
        await theirs.publish(aio_pika.Message(b"a job"), "pulsar__setup")
        got = await queue.get(timeout=30, no_ack=True)
        assert got.body == b"a job"
        for name in ("tesp", "x-primary", "pipeline-1", "pulsars"):
            with refused():
                await (await of_pulsar()).declare_queue(name)
        for name in ("amq.topic", "x-primary"):
            with refused():
                there = await (await of_pulsar()).get_exchange(name, ensure=False)
                await there.publish(aio_pika.Message(b""), "tesp.a", mandatory=False)
            with refused():
                await (await (await of_pulsar()).get_queue(queue.name)).bind(name, "tesp.#")


async def test_nobody_takes_what_is_kept_for_another(guarded_rabbitmq: GuardedRabbitmq) -> None:
    async with channel_of(guarded_rabbitmq, "tesp") as of_tesp:
        for name in ("tesp-triggers", "mqtt-subscription-tesp-1qos1", "pulsar__kill"):
            await (await of_tesp()).declare_queue(name, durable=True)
    for user in ("pipeline", "operator", "watcher", "shovel"):
        async with channel_of(guarded_rabbitmq, user) as opened:
            for name in ("tesp-triggers", "mqtt-subscription-tesp-1qos1", "pulsar__kill"):
                with refused():
                    queue = await (await opened()).get_queue(name, ensure=False)
                    await queue.get(fail=False)
                with refused():
                    await (await opened()).queue_delete(name)


@pytest.mark.parametrize("exchange", ["x-primary", "amq.topic"])
async def test_nobody_writes_where_he_does_not_belong_over_amqp(
    guarded_rabbitmq: GuardedRabbitmq, exchange: str
) -> None:
    key = "prod.tesp.tesp.monitoring.1100"
    for user in USERS:
        async with channel_of(guarded_rabbitmq, user) as opened:
            for topic in sorted({*TOPICS, key}):
                ours = topic in WRITES[user] or (user, topic) == ("tesp", key)
                with contextlib.nullcontext() if ours else refused():
                    there = await (await opened()).get_exchange(exchange, ensure=False)
                    message = aio_pika.Message(b"{}")
                    await there.publish(message, topic.replace("/", "."), mandatory=False)


@pytest.fixture(params=["mosquitto", "rabbitmq", "rabbitmq-mqtt"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "mosquitto":
        return f"mqtt://127.0.0.1:{request.getfixturevalue('guarded_mosquitto').port}"
    rabbitmq: GuardedRabbitmq = request.getfixturevalue("guarded_rabbitmq")
    if request.param == "rabbitmq":
        return f"amqp://127.0.0.1:{rabbitmq.port}/tesp"
    return f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}"


async def test_a_pipeline_hears_of_a_task_tells_on_and_obeys_the_operator(url: str) -> None:
    mark = uuid.uuid4().hex
    event = Event("task-1", 1, State.COMPLETE, time.time(), "sam", 1, "align", correlation=mark)
    exchange = "amq.topic"
    async with contextlib.AsyncExitStack() as stack:

        def bus(user: str, **more: Any) -> Bus:
            login = {"username": user, "password": password_of(user)}
            opened = brokers.one(BrokerSettings(name=user, url=url, **login, **more))
            stack.push_async_callback(opened.close)
            return opened

        service, operator = bus("tesp", exchange=exchange), bus("operator")
        pipeline, watcher = bus("pipeline", client_id="pipeline-elan"), bus("watcher")
        # Over AMQP these have the other exchange, where the same is heard.
        told = await stack.enter_async_context(pipeline.subscribe(TASK, BID))
        seen = await stack.enter_async_context(watcher.subscribe("tesp/#", "site/#"))
        order = Message(BID, {"action": "raise"}, f"o{mark}", time.time(), mark)
        on = Message(TOLD, {"status": "started"}, f"t{mark}", time.time(), mark)
        async with asyncio.timeout(60):
            producer = prodiguer.Producer()
            await service.publish([prodiguer.message(event, "tesp", producer)])
            assert (await _of(told, mark)).topic == tael.status_topic("tesp", "align") == TASK
            await pipeline.publish([on])
            await operator.publish([order])
            assert (await _of(told, mark)).payload["action"] == "raise"
            assert {(await _of(seen, mark)).topic for _ in range(3)} == {TASK, TOLD, BID}


async def _of(deliveries: Any, mark: str) -> Message:
    """The next of this test."""
    async for delivery in deliveries:
        if delivery.message.correlation == mark:
            message: Message = delivery.message
            return message
    raise AssertionError("no more came")
