"""What is RabbitMQ's own: keys and properties, the exchange of its MQTT plugin, rights."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import orjson
import pytest
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from tesp.bus import prodiguer
from tesp.bus.amqp_depths import QueueLook
from tesp.bus.depths import Depth
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.events import Event
from tesp.settings import BrokerSettings
from tesp.tes.states import State
from tests.contract.bus.harness import GUEST, Site, take, until
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import NARROW, PASSWORD, RabbitmqServer


@pytest.fixture
def here(rabbitmq: RabbitmqServer) -> Site:
    url = f"amqp://127.0.0.1:{rabbitmq.port}"
    return Site("amqp", BrokerSettings(name="rabbitmq", url=url), f"r{uuid.uuid4().hex}")


@asynccontextmanager
async def bare(rabbitmq: RabbitmqServer) -> AsyncIterator[AbstractChannel]:
    """A client without anything of ours."""
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield await connection.channel()


async def first(channel: AbstractChannel, exchange: str, key: str, publish: Any) -> Any:
    """The first message that comes by a binding key, of what is published."""
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(exchange, key)
    await publish
    got: AbstractIncomingMessage | None = await queue.get(timeout=30, no_ack=True)
    assert got is not None
    return got


def event(name: str, state: State = State.QUEUED, correlation: str = "", hops: int = 0) -> Event:
    moment = 1594900201.5
    return Event("task-1", 1, state, moment, "sam", 1, name, correlation=correlation, hops=hops)


async def test_an_event_has_the_key_the_properties_and_the_headers_of_prodiguer(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    producer = prodiguer.Producer("test", f"u{uuid.uuid4().hex}", "ipsl", "monitoring", "1.2")
    message = prodiguer.message(event("elan", correlation="the-cause", hops=2), "COGUK", producer)
    async with here.opened() as bus, bare(rabbitmq) as channel:
        await bus.publish([here.message()])
        binding = f"*.{producer.user}.*.*.0000"
        got = await first(channel, "x-primary", binding, bus.publish([message]))
    assert got.routing_key == f"test.{producer.user}.ipsl.monitoring.0000"
    properties = {
        "app_id": "monitoring",
        "content_encoding": "utf-8",
        "content_type": "application/json",
        "delivery_mode": 2,
        "message_id": event("elan").id,
        "priority": 4,
        "type": "0000",
        "user_id": "guest",
    }
    assert {name: getattr(got, name) for name in properties} == properties
    assert int(got.timestamp.timestamp()) == 1594900201
    assert (
        got.headers.items()
        >= {
            "producer_id": "ipsl",
            "producer_version": "1.2",
            "timestamp": "2020-07-16T11:50:01.500000+00:00",
            "timestamp_raw": 1594900201500000000,
            "correlation_id_1": "the-cause",
            "correlation_id_2": "task-1",
            "hops": 2,
        }.items()
    )
    assert orjson.loads(got.body)["status"] == "queued"


async def test_an_event_comes_whole_and_once_by_topic_and_by_key(here: Site) -> None:
    producer = prodiguer.Producer("test", f"u{uuid.uuid4().hex}")
    sent = prodiguer.message(event("elan", correlation="the-cause", hops=2), here.root, producer)
    other = prodiguer.message(event("elan", State.COMPLETE), here.root, producer)
    last = here.message("end")
    filters = (f"*.{producer.user}.*.*.0000", f"{here.root}/+/+/elan/control", f"{here.root}/end")
    both = (f"*.{producer.user}.#", f"{here.root}/#")
    async with here.opened() as bus, bus.subscribe(*filters) as some, bus.subscribe(*both) as all_:
        await bus.publish([sent, other, last])
        (came, *_) = await take(some, 1)
        assert came.message == sent
        assert came.trusted
        assert await until(some, last) == [last.id]
        assert len(await until(all_, last)) == 3


async def published(rabbitmq: RabbitmqServer, key: str, body: bytes, **more: Any) -> None:
    async with bare(rabbitmq) as channel:
        exchange = await channel.get_exchange("x-primary")
        await exchange.publish(aio_pika.Message(body, **more), key, mandatory=False)


async def test_a_message_is_on_no_topic_but_that_of_its_first_key(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    # Brokers look at that one alone, when they ask what its sender may write.
    allowed, order = f"{here.root}.elan.status", f"{here.root}.elan.control"
    async with here.opened() as bus:
        await bus.publish([here.message()])
        wishes = (f"{here.root}/elan/control", f"{here.root}/end")
        everything = (f"{here.root}/#",)
        async with bus.subscribe(*wishes) as orders, bus.subscribe(*everything) as all_:
            more: list[dict[str, Any]] = [
                {"headers": {"CC": [order]}},
                {"headers": {"CC": [order], "topic": f"{here.root}/elan/control"}},
                {"headers": {"topic": f"{here.root}/elan/control"}},
            ]
            for one in more:
                await published(rabbitmq, allowed, b'{"action": "raise"}', **one)
            last = here.message("end")
            await bus.publish([last])
            assert await until(orders, last) == [last.id]
            topics = [(await anext(all_)).message.topic for _ in range(2)]
    assert topics == [f"{here.root}/elan/status", f"{here.root}/end"]


async def test_nobody_vouches_for_a_dead_letter(here: Site, rabbitmq: RabbitmqServer) -> None:
    order = f"{here.root}.elan.control"
    async with here.opened() as bus, bare(rabbitmq) as channel:
        await bus.publish([here.message()])
        async with bus.subscribe(f"{here.root}/#") as deliveries:
            dead = {"x-dead-letter-exchange": "x-primary", "x-dead-letter-routing-key": order}
            queue = await channel.declare_queue(exclusive=True, arguments=dead)
            letter = aio_pika.Message(b'{"action": "raise"}', user_id="guest", expiration=0.001)
            await channel.default_exchange.publish(letter, queue.name)
            (came,) = await take(deliveries, 1)
    assert (came.message.topic, came.trusted) == (f"{here.root}/elan/control", False)


async def test_it_is_seen_how_full_queues_are_by_whom_they_are_not_for(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    name = f"full-{uuid.uuid4().hex}"
    bob = BrokerSettings(
        name="b", url=f"amqp://127.0.0.1:{rabbitmq.port}", username=NARROW, password=PASSWORD
    )
    look = QueueLook(bob)
    try:
        async with bare(rabbitmq) as channel:
            queue = await channel.declare_queue(name, durable=True)
            for _ in range(3):
                await channel.default_exchange.publish(aio_pika.Message(b"{}"), name)
            assert await look.depths([name, f"no-{name}"]) == [Depth(name, 3, 0)]
            tag = await queue.consume(_ignore)
            assert [d.consumers for d in await look.depths([name])] == [1]
            await queue.cancel(tag)
    finally:
        await look.close()


async def _ignore(_: AbstractIncomingMessage) -> None:
    pass


async def test_a_tael_topic_reaches_mosquitto_sub_at_the_mqtt_plugin_once(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    producer = prodiguer.Producer("test", f"u{uuid.uuid4().hex}")
    sent = prodiguer.message(event("elan"), here.root, producer)
    end = here.message("end")
    plugin = MosquittoServer(rabbitmq.mqtt_port, 0, 0, "", 0)
    login = ("-u", "guest", "-P", "guest")
    with plugin.listening(f"{here.root}/#", 2, *login) as listening:
        async with here.opened(exchange=prodiguer.MQTT_EXCHANGE) as bus:
            await bus.publish([sent, end])
        lines = await asyncio.to_thread(listening.lines)
    topics = [line.partition(" ")[0] for line in lines]
    assert topics == [f"{here.root}/infrastructure/pipelines/elan/status", f"{here.root}/end"]


async def test_what_mqtt_sends_comes_by_amqp_and_the_other_way_round(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    url = f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}"
    there = Site("mqtt", BrokerSettings(name="m", url=url, **GUEST), here.root)  # type: ignore[arg-type]
    async with here.opened(exchange=prodiguer.MQTT_EXCHANGE) as amqp, there.opened() as mqtt:
        for source, target in ((amqp, mqtt), (mqtt, amqp)):
            async with target.subscribe(f"{here.root}/+/status") as deliveries:
                sent = here.message("x/status", status="finished")
                await source.publish([sent])
                (came,) = await take(deliveries, 1)
            assert (came.message.id, came.message.topic) == (sent.id, sent.topic)
            assert (came.message.correlation, came.message.hops) == (sent.correlation, sent.hops)


async def test_an_unknown_type_code_is_dropped_and_others_come(
    here: Site, rabbitmq: RabbitmqServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        async with bare(rabbitmq) as channel:
            exchange = await channel.get_exchange("x-primary")
            for type_code in ("4711", "1100"):
                message = aio_pika.Message(b'{"status": "x"}', type=type_code)
                await exchange.publish(message, f"{here.root}.a", mandatory=False)
        (came,) = await take(deliveries, 1)
    assert came.message.type == "1100"
    assert not came.trusted
    assert any("'4711' is no type code" in line for line in caplog.messages)


async def test_a_sender_that_pretends_to_be_another_is_refused(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    async with bare(rabbitmq) as channel:
        exchange = await channel.get_exchange("amq.topic")
        forged = aio_pika.Message(b"{}", user_id=NARROW)
        with pytest.raises(Exception, match="user_id"):
            await exchange.publish(forged, here.root, mandatory=False)


async def test_what_is_not_permitted_is_refused_with_what_to_mend(here: Site) -> None:
    narrow = {"username": NARROW, "password": PASSWORD}
    async with here.opened() as bus:
        await bus.publish([here.message()])
    async with here.opened(**narrow) as bus:
        with pytest.raises(MessageRefused, match=f"to x-primary.*permits the user {NARROW}"):
            await bus.publish([here.message()])
        with pytest.raises(BusRefused, match=f"permits the user {NARROW}"):
            async with bus.subscribe("#"):
                pass
    async with here.opened(**narrow, exchange=f"{NARROW}-{here.root}") as bus:
        await bus.publish([here.message()])


async def test_a_certificate_has_to_be_trusted(here: Site, rabbitmq: RabbitmqServer) -> None:
    url = f"amqps://127.0.0.1:{rabbitmq.tls_port}"
    async with here.opened(url=url) as bus:
        with pytest.raises(BusRefused, match="see ca_file"):
            await bus.publish([here.message()])
    trusting = {"url": url, "ca_file": rabbitmq.certificate}
    async with here.opened(**trusting) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        sent = here.message()
        await bus.publish([sent])
        assert [d.message.id for d in await take(deliveries, 1)] == [sent.id]
    async with here.opened(url=url, ca_file=rabbitmq.certificate.with_name("none")) as bus:
        with pytest.raises(BusRefused, match="none"):
            await bus.publish([sent])


async def test_a_queue_of_another_kind_is_refused_when_it_is_used(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    queue = f"client-{here.root}"
    async with bare(rabbitmq) as channel, here.opened(client_id=queue) as bus:
        await channel.declare_queue(queue, auto_delete=True)
        with pytest.raises(BusRefused, match="another kind: see exchange and client_id"):
            async with bus.subscribe("#"):
                pass


async def test_a_queue_that_is_full_delays_messages_and_loses_none(
    here: Site, rabbitmq: RabbitmqServer
) -> None:
    limits = {"x-max-length": 2, "x-overflow": "reject-publish"}
    kept, late = here.messages(2), here.message()
    async with here.opened() as bus, bare(rabbitmq) as channel:
        await bus.publish([here.message("elsewhere")])
        queue = await channel.declare_queue(exclusive=True, arguments=limits)
        await queue.bind("x-primary", f"{here.root}.a")
        await bus.publish(kept)
        with pytest.raises(BusUnavailable, match="a queue is full"):
            await bus.publish([late])
        came = [await queue.get(timeout=30, no_ack=True) for _ in kept]
        await bus.publish([late])
        came.append(await queue.get(timeout=30, no_ack=True))
    assert [message and message.message_id for message in came] == [
        message.id for message in [*kept, late]
    ]
