"""The connection to a Pulsar's broker: opened, opened anew whenever it broke, and closed."""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import (
    AbstractChannel,
    AbstractConnection,
    AbstractExchange,
    AbstractIncomingMessage,
)
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError
from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from pydantic import SecretStr
from yarl import URL

from tesp.backends.pulsar.messages import CONTENT_TYPE, EXCHANGE
from tesp.errors import BackendError, BackendRefused, BackendUnavailable

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_HEARTBEAT_SECONDS = 20
_AT_ONCE = 200
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

# TimeoutError is an OSError, and is among them.
_BROKEN = CONNECTION_EXCEPTIONS
_REFUSED = (
    AuthenticationError,
    ProbableAuthenticationError,
    ChannelAccessRefused,
    ConnectionNotAllowed,
)


@dataclass(frozen=True, slots=True)
class _Opened:
    connection: AbstractConnection
    exchange: AbstractExchange
    ended: asyncio.Event


class Broker:
    """One broker. Whatever of a connection is closed (itself, a channel, a consumer), all of it
    is opened anew; `reopened` is called then, for what was said meanwhile may be lost."""

    def __init__(
        self,
        name: str,
        url: SecretStr,
        queues: Iterable[str],
        listened: Iterable[str],
        take: Callable[[bytes], None],
        reopened: Callable[[], None],
    ) -> None:
        """`queues` are declared, those `listened` to among them; `take` gets each message."""
        self._name, self._url = name, url
        self._queues, self._listened = tuple(queues), tuple(listened)
        self._take, self._reopened = take, reopened
        self._opening = asyncio.Lock()
        self._opened: _Opened | None = None
        self._failure = ""
        self._shared: set[str] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Be connected: declare the queues and listen, where that is not so already."""
        async with self._opening:
            if self._is_open():
                return
            await self._drop()
            try:
                self._opened = await self._connect()
            except BackendError as error:
                self._failure = str(error)
                raise
            if self._keeper is None:
                self._keeper = asyncio.create_task(self._keep(self._opened))
        self._reopened()

    async def publish(self, queue: str, body: bytes, lifetime_seconds: float | None = None) -> None:
        """Put a message into a queue; returns when the broker keeps it."""
        opened = await self._ready()
        message = aio_pika.Message(
            body,
            content_type=CONTENT_TYPE,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            expiration=lifetime_seconds,
        )
        try:
            await opened.exchange.publish(message, queue, mandatory=True, timeout=_ANSWER_SECONDS)
        except DeliveryError as error:
            # It was deleted while we were connected: it is declared again with all others.
            opened.ended.set()
            raise self._unavailable(f"it has no queue {queue}") from error
        except _BROKEN as error:
            raise self._unavailable(_reason(error)) from error

    async def consumers(self, queue: str) -> int:
        """How many listen to a queue."""
        opened = await self._ready()
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                # An error closes the channel: it has one of its own.
                async with opened.connection.channel() as channel:
                    found = await channel.declare_queue(queue, passive=True)
        except _BROKEN as error:
            opened.ended.set()
            raise self._unavailable(_reason(error)) from error
        return found.declaration_result.consumer_count or 0

    async def listen(self) -> None:
        """See that we listen: who deletes a queue ends that without a word."""
        await self.open()
        for queue in self._listened:
            opened = await self._ready()
            try:
                listeners = await self.consumers(queue)
            except BackendUnavailable:
                listeners = 0
            if not listeners:
                opened.ended.set()
                await self.open()
            self._tell_of_others(queue, listeners - 1)

    def _tell_of_others(self, queue: str, others: int) -> None:
        """An update goes to one listener alone: two services cannot share a Pulsar over AMQP."""
        if others > 0 and queue not in self._shared:
            _log.warning(
                "Pulsar %s: others take updates from %s too, and the last who came gets all: "
                "a Pulsar over AMQP can serve one service alone",
                self._name,
                queue,
            )
        (self._shared.add if others > 0 else self._shared.discard)(queue)

    async def _ready(self) -> _Opened:
        """What is open. Where it broke it is being opened already, and nobody waits for that."""
        if self._keeper is None:
            await self.open()
        opened = self._opened
        if opened is None or opened.ended.is_set():
            raise BackendUnavailable(self._failure or str(self._unavailable("it went away")))
        return opened

    async def close(self) -> None:
        """Close the connection. It can be opened again."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        async with self._opening:
            await self._drop()

    def _is_open(self) -> bool:
        return self._opened is not None and not self._opened.ended.is_set()

    async def _keep(self, opened: _Opened) -> None:
        """Open anew whatever has ended, for as long as we live."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            await opened.ended.wait()
            try:
                await self.open()
            except BackendError as error:
                if pause == _FIRST_PAUSE_SECONDS:
                    _log.warning("%s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            if self._opened is not None and self._is_open():
                _log.info("Pulsar %s: the broker is there again", self._name)
                opened, pause = self._opened, _FIRST_PAUSE_SECONDS

    async def _connect(self) -> _Opened:
        url = URL(self._url.get_secret_value()).update_query(heartbeat=_HEARTBEAT_SECONDS)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                connection = await aio_pika.connect(url)
                try:
                    return await self._equipped(connection)
                except BaseException:
                    await _closed(connection)
                    raise
        except _REFUSED as error:
            raise BackendRefused(
                f"The broker of the Pulsar {self._name} at {self._place()} refuses us: see the "
                "user, the password and the virtual host in amqp_url."
            ) from error
        except ChannelPreconditionFailed as error:
            raise BackendRefused(
                f"The broker of the Pulsar {self._name} has queues of another kind than "
                f"Pulsar's durable ones ({_reason(error)}): see amqp_durable of the Pulsar."
            ) from error
        except _BROKEN as error:
            raise self._unavailable(_reason(error)) from error

    async def _equipped(self, connection: AbstractConnection) -> _Opened:
        channel: AbstractChannel = await connection.channel(on_return_raises=True)
        ended = asyncio.Event()
        for closing in (connection.close_callbacks, channel.close_callbacks):
            closing.add(lambda *_: ended.set())
        await channel.set_qos(prefetch_count=_AT_ONCE)
        exchange = await channel.declare_exchange(EXCHANGE, durable=True)
        for name in self._queues:
            queue = await channel.declare_queue(name, durable=True)
            await queue.bind(exchange, name)
            if name in self._listened:
                # All goes to who came last, should another still be there.
                await queue.consume(self._receive, arguments={"x-priority": time.time_ns() // 1000})
        return _Opened(connection, exchange, ended)

    async def _receive(self, message: AbstractIncomingMessage) -> None:
        self._take(message.body)
        # Where the connection is gone, it comes again.
        with contextlib.suppress(*_BROKEN):
            await message.ack()

    async def _drop(self) -> None:
        if self._opened is not None:
            await _closed(self._opened.connection)
            self._opened = None

    def _place(self) -> str:
        url = URL(self._url.get_secret_value())
        return f"{url.host}:{url.port or (5671 if url.scheme == 'amqps' else 5672)}"

    def _unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"The broker of the Pulsar {self._name} at {self._place()} is out of reach: {reason}."
        )


async def _closed(connection: AbstractConnection) -> None:
    with contextlib.suppress(*_BROKEN):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await connection.close()


def _reason(error: BaseException) -> str:
    """Why it broke, without an address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, InvalidFrameError):
        return "it closes the connection: see whether the virtual host in amqp_url is there"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    text = getattr(error, "reason", None) or (error.args[-1] if error.args else "")
    return str(text) or type(error).__name__
