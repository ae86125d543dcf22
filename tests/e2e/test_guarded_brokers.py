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

from tesp.bus import Bus, Message, filters, prodiguer, tael
from tesp.events import Event
from tesp.tes.states import State
from tests.peers.guarded_brokers import USERS, GuardedMosquitto, GuardedRabbitmq
from tests.peers.guarded_bus import bus_at, hearing, next_delivery_of, next_of, say
from tests.peers.mqtt_party import Party
from tests.peers.room import wait_until

PIPELINES = "infrastructure/pipelines"
TASK, ORDER = f"tesp/{PIPELINES}/align/status", f"tesp/{PIPELINES}/align/control"
TOLD, BID = f"site/{PIPELINES}/elan/status", f"site/{PIPELINES}/elan/control"
SENT, BEACON = "site/elan/status", "site/test/beacon/status"
DEEPER = f"site/{PIPELINES}/elan/status/control"
# What the agents say, below both beginnings.
ROOTS = ("tesp", "site")
MEASURED = [f"{root}/infrastructure/metrics/node1/status" for root in ROOTS]
BY_AGENTS = [
    f"{root}/{rest}"
    for root in ROOTS
    for rest in (
        "agents/night/alert",
        "infrastructure/metrics/node1/status",
        "infrastructure/alarms/node1/status",
        "infrastructure/late/align/status",
        "infrastructure/publications/align/status",
        "infrastructure/vocabulary/status",
    )
]
WRITES = {
    "tesp": {TASK, ORDER, *(topic for topic in BY_AGENTS if topic.startswith("tesp/"))},
    "pipeline": {TOLD, SENT, BEACON},
    "operator": {ORDER, BID},
    "watcher": set[str](),
    "node": set(MEASURED),
    "agent": set(BY_AGENTS),
}
TOPICS = {TASK, ORDER, TOLD, BID, SENT, BEACON, *BY_AGENTS}
READS = {
    "tesp": TOPICS,
    "pipeline": {TASK, *(topic for topic in TOPICS if topic.startswith("site/"))},
    "operator": TOPICS,
    "watcher": TOPICS,
    "node": set[str](),
    "agent": TOPICS,
}
# Filters of one topic each; what else there is comes with the wide ones.
NARROW = {TASK, ORDER, TOLD, BID, SENT, BEACON, *MEASURED}
# Prodiguer's keys over AMQP.
EVENT, SAMPLE = "prod.tesp.tesp.monitoring.1100", "prod.tesp.tesp.metrics.7000"
LATENESS = "prod.tesp.tesp.superviseur.8000"
PUBLISHED = {"prod.tesp.tesp.monitoring.2100", "prod.tesp.tesp.monitoring.2999"}
BY_KEY = {
    "tesp": {EVENT, SAMPLE, LATENESS, *PUBLISHED},
    "node": {SAMPLE},
    "agent": {SAMPLE, LATENESS, *PUBLISHED},
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
    """On each topic, by one who may; the last of them all who read may read."""
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
    wishes = [(user, f) for user in USERS for f in sorted({*NARROW, "#", "tesp/#"})]
    with contextlib.ExitStack() as stack:
        parties = [(u, f, stack.enter_context(Party.at(mqtt_port, u))) for u, f in wishes]
        for user, pattern, party in parties:
            # What all who read may read comes last, and shows that all before it has come.
            party.hear(*([TOLD] if READS[user] else []), pattern)
        say_all(mqtt_port, mark)
        for user, pattern, party in parties:
            if not READS[user] and not party.is_gone:
                # He has the answer after all that came before.
                party.say(TOLD, "")
                continue
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
    for user in ("pipeline", "operator", "watcher", "node", "agent", "shovel"):
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
    for user in USERS:
        async with channel_of(guarded_rabbitmq, user) as opened:
            for topic in sorted(TOPICS | BY_KEY["tesp"]):
                ours = topic in WRITES[user] | BY_KEY.get(user, set())
                with contextlib.nullcontext() if ours else refused():
                    there = await (await opened()).get_exchange(exchange, ensure=False)
                    message = aio_pika.Message(b"{}")
                    await there.publish(message, topic.replace("/", "."), mandatory=False)


async def test_nobody_gives_orders_by_a_way_round(guarded_rabbitmq: GuardedRabbitmq) -> None:
    mark, key = uuid.uuid4().hex, filters.key_of(ORDER)
    url = f"amqp://127.0.0.1:{guarded_rabbitmq.port}/tesp"
    body, cause = b'{"action": "raise"}', {"correlation_id": mark}
    async with hearing(bus_at(url, "tesp"), ORDER) as orders, asyncio.timeout(60):
        # Beside a key that is permitted: from version 4 on the broker asks for each.
        async with channel_of(guarded_rabbitmq, "node") as opened:
            also = {"CC": [key], "topic": ORDER}
            aside = aio_pika.Message(body, headers=also, user_id="node", **cause)
            there = await (await opened()).get_exchange("x-primary", ensure=False)
            with contextlib.suppress(ChannelAccessRefused):
                await there.publish(aside, SAMPLE, mandatory=False)
        # By an exchange of one's own, for which no broker asks.
        async with channel_of(guarded_rabbitmq, "agent") as opened:
            channel = await opened()
            there = await channel.get_exchange("x-primary", ensure=False)
            own = await channel.declare_exchange(f"agent-{mark}", "fanout")
            await there.bind(own)
            again = aio_pika.Message(body, user_id="agent", **cause)
            await own.publish(again, key, mandatory=False)
            await own.delete()
        order = Message(ORDER, {"action": "raise"}, f"o{mark}", time.time(), mark)
        await say(bus_at(url, "operator"), order)
        round_about, last = [await next_delivery_of(orders, mark) for _ in range(2)]
    assert not round_about.trusted
    assert (last.message.id, last.trusted) == (order.id, True)


async def test_a_pipeline_hears_of_a_task_tells_on_and_obeys_the_operator(guarded_url: str) -> None:
    mark = uuid.uuid4().hex
    event = Event("task-1", 1, State.COMPLETE, time.time(), "sam", 1, "align", correlation=mark)
    exchange = "amq.topic"
    async with contextlib.AsyncExitStack() as stack:

        def bus(user: str, **more: Any) -> Bus:
            opened = bus_at(guarded_url, user, **more)
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
            assert (await next_of(told, mark)).topic == tael.status_topic("tesp", "align") == TASK
            await pipeline.publish([on])
            await operator.publish([order])
            assert (await next_of(told, mark)).payload["action"] == "raise"
            assert {(await next_of(seen, mark)).topic for _ in range(3)} == {TASK, TOLD, BID}
