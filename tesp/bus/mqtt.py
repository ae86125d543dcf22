"""The bus over MQTT 3.1.1 or 5: Mosquitto, RabbitMQ's plugin, and their like."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import aiomqtt

from tesp.bus import Delivery, Message, filters, tael
from tesp.bus.line import Line
from tesp.bus.mqtt_client import Client, connected
from tesp.bus.names import Names
from tesp.bus.subscription import Incoming, Source, Subscription
from tesp.errors import MessageRefused
from tesp.settings import BrokerSettings

_log = logging.getLogger(__name__)


class MqttBus:
    """One broker. Publishes over one connection, and takes messages over others."""

    def __init__(self, broker: BrokerSettings) -> None:
        self.name = broker.name
        self._broker = broker
        self._publishing = asyncio.Lock()
        self._line = Line(lambda: connected(broker), lambda client: client.has_ended)
        self._names = Names(broker)

    async def publish(self, messages: Sequence[Message]) -> None:
        """At QoS 1. MQTT 3.1.1 has no word for a message that is not permitted: where the broker
        does not hang up (Mosquitto does not), such a one is lost; version 5 tells."""
        bodies = [(m.topic, tael.encode(m)) for m in messages]
        async with self._publishing:
            client = await self._line.opened()
            try:
                await client.send(bodies)
            except MessageRefused:
                raise
            except BaseException:
                # What was on its way when we were cancelled must not come later.
                client.hang_up()
                await self._line.leave()
                raise

    @asynccontextmanager
    async def subscribe(
        self, *patterns: str, name: str | None = None
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """At QoS 1; one connection, or more where filters overlap in part."""
        groups = filters.disjoint(filters.checked_filter(pattern) for pattern in patterns)
        with self._names.taken(name) as session:
            sources: list[Source] = []
            for number, group in enumerate(groups):
                own = session and (f"{session}-{number + 1}" if number else session)
                earlier = tuple(p for other in groups[:number] for p in other)
                sources.append(partial(self._source, tuple(group), earlier, own))
            async with self._names.subscription(Subscription(self.name, sources)) as deliveries:
                yield deliveries

    async def close(self) -> None:
        """End the subscriptions, and hang up."""
        await self._names.end()
        async with self._publishing:
            await self._line.leave()

    @asynccontextmanager
    async def _source(
        self, group: tuple[str, ...], earlier: tuple[str, ...], session: str | None
    ) -> AsyncIterator[AsyncIterator[Incoming]]:
        async with connected(self._broker, session) as client:
            await client.take(group)
            yield self._incoming(client, earlier)

    async def _incoming(self, client: Client, earlier: tuple[str, ...]) -> AsyncIterator[Incoming]:
        while True:
            try:
                message = await anext(client.messages)
            except aiomqtt.MqttError as error:
                raise client.unavailable("it hung up") from error
            # Brokers may send one copy for each filter that matches: each of our connections
            # has filters that do not overlap, and leaves to the others what is theirs.
            mine = not any(filters.matches(p, str(message.topic)) for p in earlier)
            delivery = self._delivery(message) if mine else None
            if delivery is None:
                client.acknowledge(message)
                continue
            yield Incoming(
                delivery,
                partial(_acknowledge, client, message),
                client.is_repeated(message),
            )

    def _delivery(self, message: aiomqtt.Message) -> Delivery | None:
        topic, body = str(message.topic), bytes(message.payload)
        try:
            told = tael.decode(topic, body, time.time())
        except MessageRefused as error:
            _log.warning("%s: dropped a message on %r: %s", self.name, topic[:200], error)
            return None
        return Delivery(told, body, trusted=self._broker.trusted, retained=bool(message.retain))


async def _acknowledge(client: Client, message: aiomqtt.Message) -> bool:
    return client.acknowledge(message)
