"""The bus over AMQP: a durable topic exchange of RabbitMQ, keys and headers of Prodiguer."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import ChannelAccessRefused

from tesp.bus import Delivery, Message, filters, prodiguer
from tesp.bus.amqp_channel import ANSWER_SECONDS, BROKEN, Opened, opened, problem, reason
from tesp.bus.line import Line
from tesp.bus.names import Names
from tesp.bus.prodiguer import Envelope
from tesp.bus.subscription import Incoming, Subscription
from tesp.errors import BusUnavailable, MessageRefused
from tesp.settings import BrokerSettings

_log = logging.getLogger(__name__)

# Few enough for a slow broker to confirm in time.
_AT_ONCE = 100
_PREFETCH = 20
# Who deletes a queue ends our listening without a word.
_LOOK_SECONDS = 30.0


class AmqpBus:
    """One broker. Publishes over one connection, and takes messages over others."""

    def __init__(self, broker: BrokerSettings, prefetch: int = _PREFETCH) -> None:
        self.name = broker.name
        self._broker = broker
        self._prefetch = prefetch
        self._publishing = asyncio.Lock()
        self._line = Line(lambda: opened(broker), lambda there: there.ended.is_set())
        self._names = Names(broker)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Persistent, with publisher confirms. Nobody has to be there to take them."""
        envelopes = [prodiguer.enveloped(m, self._broker.exchange) for m in messages]
        async with self._publishing:
            for start in range(0, len(envelopes), _AT_ONCE):
                there = await self._line.opened()
                try:
                    await self._send(there, envelopes[start : start + _AT_ONCE])
                except BaseException:
                    # What was on its way when we were cancelled must not come later.
                    await self._line.leave()
                    raise

    @asynccontextmanager
    async def subscribe(
        self, *patterns: str, name: str | None = None
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        """By a queue of its own; with a client id, a durable one that others may share."""
        checked = tuple(filters.checked_binding(pattern) for pattern in patterns)
        with self._names.taken(name) as queue:
            source = partial(self._source, checked, queue)
            async with self._names.subscription(Subscription(self.name, [source])) as deliveries:
                yield deliveries

    async def close(self) -> None:
        """End the subscriptions, and hang up."""
        await self._names.end()
        async with self._publishing:
            await self._line.leave()

    async def _send(self, there: Opened, envelopes: Sequence[Envelope]) -> None:
        sending = [
            asyncio.ensure_future(there.exchange.publish(self._message(e), e.key, mandatory=False))
            for e in envelopes
        ]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.gather(*sending)
        except ChannelAccessRefused as error:
            raise MessageRefused(
                f"The broker {self.name} refuses messages to {self._broker.exchange}: see what it "
                f"permits the user {self._broker.username or 'guest'} ({reason(error)})."
            ) from error
        except DeliveryError as error:
            raise BusUnavailable(
                f"The broker {self.name} takes no more messages: a queue is full."
            ) from error
        except BROKEN as error:
            raise problem(self._broker, error) from error
        finally:
            for one in sending:
                one.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    def _message(self, envelope: Envelope) -> aio_pika.Message:
        headers: dict[str, Any] = {k: v for k, v in envelope.headers.items() if v is not None}
        if envelope.also:
            headers["CC"] = list(envelope.also)
        return aio_pika.Message(
            envelope.body,
            headers=headers,
            content_type=envelope.content_type,
            content_encoding=prodiguer.CONTENT_ENCODING,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            priority=prodiguer.PRIORITY,
            correlation_id=envelope.correlation_id,
            message_id=envelope.message_id,
            timestamp=envelope.timestamp,
            type=envelope.type,
            app_id=envelope.app_id,
            # RabbitMQ takes no other than the one who is logged in, and so vouches for it.
            user_id=self._broker.username or "guest",
        )

    @asynccontextmanager
    async def _source(
        self, patterns: tuple[str, ...], queue_name: str | None
    ) -> AsyncIterator[AsyncIterator[Incoming]]:
        async with opened(self._broker, self._prefetch) as there:
            inbox: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    queue = await self._queue(there, queue_name)
                    for pattern in patterns:
                        await queue.bind(there.exchange, filters.key_of(pattern))
                    await queue.consume(inbox.put)
            except BROKEN as error:
                raise problem(self._broker, error) from error
            yield self._incoming(there, queue, inbox, patterns)

    async def _queue(self, there: Opened, name: str | None) -> AbstractQueue:
        if name is None:
            return await there.channel.declare_queue(exclusive=True, auto_delete=True)
        return await there.channel.declare_queue(name, durable=True)

    async def _incoming(
        self,
        there: Opened,
        queue: AbstractQueue,
        inbox: asyncio.Queue[AbstractIncomingMessage],
        patterns: tuple[str, ...],
    ) -> AsyncIterator[Incoming]:
        bindings = [filters.key_of(pattern) for pattern in patterns]
        while True:
            message = await self._next(there, queue, inbox)
            keys = _keys(message)
            # A durable queue may still have the bindings of an earlier time.
            ours = any(filters.key_matches(b, k) for b in bindings for k in keys)
            delivery = self._delivery(message) if ours else None
            if delivery is None:
                await _acknowledge(message)
                continue
            yield Incoming(delivery, partial(_acknowledge, message), bool(message.redelivered))

    async def _next(
        self,
        there: Opened,
        queue: AbstractQueue,
        inbox: asyncio.Queue[AbstractIncomingMessage],
    ) -> AbstractIncomingMessage:
        if not inbox.empty() and not there.ended.is_set():
            return inbox.get_nowait()
        getting = asyncio.ensure_future(inbox.get())
        ending = asyncio.ensure_future(there.ended.wait())
        try:
            while not getting.done():
                done, _ = await asyncio.wait(
                    (getting, ending),
                    timeout=_LOOK_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if ending in done or not (done or await self._listens(there, queue)):
                    raise BusUnavailable(f"The broker {self.name} hung up.")
            return getting.result()
        finally:
            getting.cancel()
            ending.cancel()

    async def _listens(self, there: Opened, queue: AbstractQueue) -> bool:
        """Whether the broker still knows of us."""
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(ANSWER_SECONDS):
                found = await there.channel.declare_queue(queue.name, passive=True)
                return bool(found.declaration_result.consumer_count)
        return False

    def _delivery(self, message: AbstractIncomingMessage) -> Delivery | None:
        try:
            told = prodiguer.opened(_envelope(message), time.time())
        except MessageRefused as error:
            key = (message.routing_key or "")[:200]
            _log.warning("%s: dropped a message with the key %r: %s", self.name, key, error)
            return None
        trusted = self._broker.trusted or self._vouches(message)
        return Delivery(told, message.body, trusted=trusted)

    def _vouches(self, message: AbstractIncomingMessage) -> bool:
        """Whether the broker does, for the sender and his right to this key. It did not ask for
        that where the message is a dead letter, or came by an exchange of the sender's own."""
        guarded = (self._broker.exchange, prodiguer.EXCHANGE, prodiguer.MQTT_EXCHANGE)
        is_dead = "x-death" in (message.headers or {})
        return message.user_id is not None and message.exchange in guarded and not is_dead


def _envelope(message: AbstractIncomingMessage) -> Envelope:
    key, *also = _keys(message)
    return Envelope(
        body=message.body,
        key=key,
        also=tuple(also),
        type=message.type or None,
        app_id=message.app_id,
        message_id=message.message_id,
        timestamp=int(message.timestamp.timestamp()) if message.timestamp else None,
        correlation_id=message.correlation_id,
        content_type=message.content_type,
        headers={k: v for k, v in (message.headers or {}).items() if k not in ("CC", "BCC")},
    )


def _keys(message: AbstractIncomingMessage) -> list[str]:
    more = (message.headers or {}).get("CC")
    also = [k for k in more if isinstance(k, str)] if isinstance(more, list) else []
    return list(prodiguer.believed(message.routing_key or "", also))


async def _acknowledge(message: AbstractIncomingMessage) -> bool:
    # Where the connection is gone, it comes again.
    with contextlib.suppress(*BROKEN):
        await message.ack()
        return True
    return False
