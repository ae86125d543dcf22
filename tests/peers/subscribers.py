"""Subscribers with nothing of ours: they keep what comes, over every loss of their broker."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import aio_pika
import paho.mqtt.client as paho
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, ChannelNotFoundEntity
from paho.mqtt.enums import CallbackAPIVersion

from tests.peers.room import answers, wait_until


@dataclass(frozen=True)
class Came:
    """One message, as it came."""

    id: str
    payload: dict[str, Any]
    key: str = ""
    headers: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Collected:
    """What came so far, repeats too."""

    messages: list[Came] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        """The ids of all messages."""
        return {came.id for came in list(self.messages)}

    @property
    def firsts(self) -> list[Came]:
        """Each message when it came for the first time."""
        return list({came.id: came for came in reversed(self.messages)}.values())[::-1]


class AmqpSubscriber(Collected):
    """Takes what comes to a durable queue, which is bound to the exchange by some keys."""

    def __init__(self, url: str, queue: str, *keys: str) -> None:
        super().__init__()
        self._url, self._queue, self._keys = url, queue, keys or ("#",)
        self._ended = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)

    @classmethod
    @contextlib.contextmanager
    def listening(cls, url: str, queue: str, *keys: str) -> Iterator[Self]:
        """Listen from now on; entered when the queue is there and bound."""
        subscriber = cls(url, queue, *keys)
        subscriber._thread.start()
        try:
            assert subscriber._ready.wait(30)
            yield subscriber
        finally:
            subscriber._ended.set()
            subscriber._thread.join(30)

    async def _work(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(*CONNECTION_EXCEPTIONS):
                async with asyncio.timeout(10):
                    connection = await aio_pika.connect(self._url)
                async with connection:
                    await self._take(connection)
            await asyncio.sleep(0.2)

    async def _take(self, connection: aio_pika.abc.AbstractConnection) -> None:
        channel = await connection.channel()
        try:
            async with connection.channel() as looking:
                await looking.get_exchange("x-primary", ensure=True)
        except ChannelNotFoundEntity:
            await channel.declare_exchange("x-primary", "topic", durable=True)
        queue = await channel.declare_queue(self._queue, durable=True)
        for key in self._keys:
            await queue.bind("x-primary", key)
        lost = asyncio.Event()
        for closing in (connection.close_callbacks, channel.close_callbacks):
            closing.add(lambda *_: lost.set())
        await queue.consume(self._keep)
        self._ready.set()
        while not (lost.is_set() or self._ended.is_set()):  # noqa: ASYNC110 - a thread's event
            await asyncio.sleep(0.02)

    async def _keep(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        said = json.loads(message.body)
        key, headers = message.routing_key or "", message.headers
        self.messages.append(Came(str(message.message_id), said, key, headers))
        with contextlib.suppress(*CONNECTION_EXCEPTIONS):
            await message.ack()


class MqttSubscriber(Collected):
    """Takes what comes on a filter, at QoS 1, in a session that the broker keeps."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self._pattern = pattern
        self._ready = threading.Event()

    @classmethod
    @contextlib.contextmanager
    def listening(cls, port: int, pattern: str, client_id: str) -> Iterator[Self]:
        """Listen from now on; entered when the broker knows the filter."""
        subscriber = cls(pattern)
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=False, manual_ack=True
        )
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda c, *_: c.subscribe(pattern, 1)
        client.on_subscribe = lambda *_: subscriber._ready.set()
        client.on_message = subscriber._keep
        wait_until(lambda: answers(port), "the broker answers")
        client.connect("127.0.0.1", port, keepalive=20)
        client.loop_start()
        try:
            assert subscriber._ready.wait(30)
            yield subscriber
        finally:
            client.disconnect()
            client.loop_stop()

    def _keep(self, client: paho.Client, _: object, message: paho.MQTTMessage) -> None:
        payload = json.loads(message.payload)
        self.messages.append(Came(payload["message_id"], payload))
        client.ack(message.mid, message.qos)
