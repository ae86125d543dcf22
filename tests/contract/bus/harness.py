"""The brokers that one suite runs over, and what the tests do with them."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aio_pika

from tesp.bus import Bus, Delivery, Message, Value, brokers, filters
from tesp.bus.memory import MemoryBus
from tesp.settings import BrokerSettings
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer

KINDS = ("memory", "mosquitto-3.1.1", "mosquitto-5", "rabbitmq-mqtt", "rabbitmq-amqp")
NETWORK = KINDS[1:]
DEADLINE_SECONDS = 600.0
GUEST = {"username": "guest", "password": "guest"}


@dataclass
class Site:
    """One broker as a test sees it. `root` is where its topics begin: no other test is there."""

    kind: str
    settings: BrokerSettings | None
    root: str

    def bus(self, **changes: Any) -> Bus:
        """A bus that is not connected yet."""
        if self.settings is None:
            return MemoryBus()
        data = {**self.settings.model_dump(), **changes}
        return brokers.one(BrokerSettings(**data))

    @asynccontextmanager
    async def opened(self, **changes: Any) -> AsyncIterator[Bus]:
        """A bus for as long as it is needed."""
        bus = self.bus(**changes)
        try:
            yield bus
        finally:
            await bus.close()

    def message(self, below: str = "a", **payload: Value) -> Message:
        """A message on a topic below the root."""
        key, type_code = ("test.tesp.tesp.monitoring.1000", "1000")
        name, now = str(uuid.uuid4()), time.time()
        sent = {**payload, "ts": int(now)}
        topic = f"{self.root}/{below}"
        return Message(topic, sent, name, now, f"cause of {name}", 3, key, type_code)

    def messages(self, count: int, below: str = "a") -> list[Message]:
        """So many, numbered."""
        return [self.message(below, number=number) for number in range(count)]

    async def send_raw(self, below: str, *bodies: bytes) -> None:
        """What any other program may send."""
        assert self.settings is not None
        if self.settings.scheme == "amqp":
            await self._send_by_amqp(filters.key_of(f"{self.root}/{below}"), bodies)
        else:
            for body in bodies:
                await asyncio.to_thread(self._send_by_mqtt, f"{self.root}/{below}", body)

    async def _send_by_amqp(self, key: str, bodies: Sequence[bytes]) -> None:
        assert self.settings is not None
        async with await aio_pika.connect(self.settings.url) as connection:
            channel = await connection.channel()
            exchange = await channel.get_exchange(self.settings.exchange)
            for body in bodies:
                await exchange.publish(aio_pika.Message(body), key, mandatory=False)

    def _send_by_mqtt(self, topic: str, body: bytes) -> None:
        assert self.settings is not None
        sender = MosquittoServer(self.settings.port, 0, 0, "", 0)
        login = ("-u", "guest", "-P", "guest") if self.settings.username else ()
        sender.send(topic, body, *login)


def site(
    kind: str, mosquitto: Callable[[], MosquittoServer], rabbitmq: Callable[[], RabbitmqServer]
) -> Site:
    """The site of a kind; boots no more than it needs."""
    broker, _, dialect = kind.partition("-")
    root = f"r{uuid.uuid4().hex}"
    if broker == "memory":
        return Site(kind, None, root)
    if broker == "mosquitto":
        settings = BrokerSettings(name=kind, url=mosquitto().url, version=dialect)  # type: ignore[arg-type]
    elif dialect == "mqtt":
        url = f"mqtt://127.0.0.1:{rabbitmq().mqtt_port}"
        settings = BrokerSettings(name=kind, url=url, **GUEST)  # type: ignore[arg-type]
    else:
        settings = BrokerSettings(name=kind, url=f"amqp://127.0.0.1:{rabbitmq().port}")
    return Site(kind, settings, root)


async def take(deliveries: AsyncIterator[Delivery], count: int) -> list[Delivery]:
    """The next so many."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [await anext(deliveries) for _ in range(count)]


async def up_to(deliveries: AsyncIterator[Delivery], last: Message) -> list[Delivery]:
    """All that come, up to this one."""
    came: list[Delivery] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not came or came[-1].message.id != last.id:
            came.append(await anext(deliveries))
    return came


async def until(deliveries: AsyncIterator[Delivery], last: Message) -> list[str]:
    """The ids of all that come, up to this one."""
    return [delivery.message.id for delivery in await up_to(deliveries, last)]
