"""One connection to an MQTT broker: aiomqtt's, with acknowledgement by hand and confirms that say
what the broker thought of a message."""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS, MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.settings import BrokerSettings

_ANSWER_SECONDS = 10.0
_FAREWELL_SECONDS = 2.0
_KEEPALIVE_SECONDS = 20
# So many are on their way at once, and more follow when half of them are confirmed.
_AT_ONCE = 100
_MOST_INBOX_BYTES = 32 * 1024 * 1024
_KEPT_SECONDS = 0xFFFFFFFF
# Protocol, client id, user, right, banned, method: no patience mends these.
_FINAL = frozenset((132, 133, 134, 135, 138, 140))
_FAILURE = 128


class _Inbox(asyncio.Queue[aiomqtt.Message]):
    """Bounded for messages of QoS 0, which nothing else holds back; the broker itself sends no
    more of the others than a few ahead of their acknowledgements."""

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._bytes = 0

    def put_nowait(self, item: aiomqtt.Message) -> None:
        if item.qos == 0 and self._bytes > _MOST_INBOX_BYTES:
            raise asyncio.QueueFull
        super().put_nowait(item)

    def _put(self, item: aiomqtt.Message) -> None:
        super()._put(item)
        self._bytes += len(item.payload)

    def _get(self) -> aiomqtt.Message:
        item = super()._get()
        self._bytes -= len(item.payload)
        return item


class Client(aiomqtt.Client):
    """A connection. What it raises is ours."""

    def __init__(self, broker: BrokerSettings, session: str | None) -> None:
        """`session`: the client id under which the broker keeps what we have not acknowledged."""
        context = ssl.create_default_context(cafile=broker.ca_file) if broker.is_encrypted else None
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.secret,
            # Brokers can tell by its beginning whose client it is.
            identifier=session or f"{broker.username or 'tesp'}-{secrets.token_hex(8)}",
            keepalive=_KEEPALIVE_SECONDS,
            timeout=_ANSWER_SECONDS,
            queue_type=_Inbox,
            max_inflight_messages=_AT_ONCE,
            tls_context=context,
            logger=_quiet(),
            **_session_options(broker, session),
        )
        self._broker = broker
        self._client.manual_ack_set(True)
        self._unconfirmed: dict[int, asyncio.Future[ReasonCode]] = {}
        self._repeated: set[int] = set()

    @property
    def has_ended(self) -> bool:
        """Whether the connection is gone."""
        return self._disconnected.done()

    async def send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish at QoS 1, in order; returns when all are confirmed."""
        sent = []
        try:
            for topic, body in messages:
                if len(self._unconfirmed) == _AT_ONCE:
                    await self._confirmed(but_for=_AT_ONCE // 2)
                sent.append((topic, self._hand_over(topic, body)))
            await self._confirmed()
        finally:
            self._unconfirmed.clear()
        for topic, future in sent:
            if future.result().value >= _FAILURE:
                raise MessageRefused(
                    f"The broker {self._broker.name} refuses messages on {topic} "
                    f"({future.result()}): see what it permits {self._user()}."
                )

    async def take(self, patterns: Sequence[str]) -> None:
        """Subscribe at QoS 1."""
        subscribing = asyncio.ensure_future(self.subscribe([(p, 1) for p in patterns]))
        await asyncio.wait((subscribing, self._disconnected), return_when=asyncio.FIRST_COMPLETED)
        if not subscribing.done():
            subscribing.cancel()
            raise self.unavailable(
                "it hung up on our subscription, as some do where it is not permitted"
            )
        try:
            codes = [getattr(code, "value", code) for code in subscribing.result()]
        except aiomqtt.MqttError as error:
            raise self.unavailable(str(error)) from error
        if refused := [p for p, code in zip(patterns, codes, strict=True) if code >= _FAILURE]:
            raise BusRefused(
                f"The broker {self._broker.name} refuses the subscription to {refused[0]}: see "
                f"what it permits {self._user()}."
            )

    def acknowledge(self, message: aiomqtt.Message) -> bool:
        """Say that a message has been dealt with; False when the connection is gone."""
        if self.has_ended:
            return False
        return bool(self._client.ack(message.mid, message.qos) == MQTT_ERR_SUCCESS)

    def is_repeated(self, message: aiomqtt.Message) -> bool:
        """Whether the broker says that it has sent a message before."""
        return message.qos > 0 and message.mid in self._repeated

    def unavailable(self, reason: str) -> BusUnavailable:
        """Out of reach, and why."""
        return BusUnavailable(
            f"The broker {self._broker.name} at {self._place()} is out of reach: {reason}."
        )

    def refusal(self, error: aiomqtt.MqttError) -> BusRefused | BusUnavailable:
        """What a connection that did not come about means."""
        code = getattr(getattr(error, "rc", None), "value", None)
        if isinstance(error.__context__, ssl.SSLCertVerificationError):
            return BusRefused(
                f"The certificate of the broker {self._broker.name} at {self._place()} is not "
                f"trusted ({error.__context__.verify_message}): see ca_file and the host in url."
            )
        if code in _FINAL:
            reason = str(getattr(error, "rc", ""))
            return BusRefused(
                f"The broker {self._broker.name} at {self._place()} refuses {self._user()} "
                f"({reason}): see username, password, client_id and version."
            )
        return self.unavailable(str(error) or "no connection")

    async def leave(self) -> None:
        """Say goodbye, and hang up whatever the answer."""
        with contextlib.suppress(aiomqtt.MqttError):
            self.timeout = _FAREWELL_SECONDS
            await self.__aexit__(None, None, None)
        self.hang_up()
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()

    def hang_up(self) -> None:
        """Close the socket."""
        self._client._sock_close()
        if self._misc_task is not None:
            self._misc_task.cancel()

    async def _confirmed(self, but_for: int = 0) -> None:
        """Wait until all are, but for so many, for as long as the connection lasts."""
        while len(self._unconfirmed) > but_for:
            oldest = next(iter(self._unconfirmed.values()))
            await asyncio.wait(
                (oldest, self._disconnected),
                timeout=_ANSWER_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not oldest.done():
                silent = "no answer in time, as some give none where a message is not permitted"
                raise self.unavailable("it hung up" if self.has_ended else silent)

    def _hand_over(self, topic: str, body: bytes) -> "asyncio.Future[ReasonCode]":
        info = self._client.publish(topic, body, qos=1)
        if info.rc != MQTT_ERR_SUCCESS:
            raise self.unavailable("it hung up")
        future: asyncio.Future[ReasonCode] = asyncio.get_running_loop().create_future()
        self._unconfirmed[info.mid] = future
        return future

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None
    ) -> None:
        # The library would wait for an answer that cannot come any more.
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("it hung up before it let us in"))
        super()._on_disconnect(client, userdata, flags, reason_code, properties)

    def _on_message(self, client: Any, userdata: Any, message: MQTTMessage) -> None:
        # A number is not given to another message before this one is acknowledged.
        (self._repeated.add if message.dup else self._repeated.discard)(message.mid)
        super()._on_message(client, userdata, message)

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Any
    ) -> None:
        future = self._unconfirmed.pop(mid, None)
        if future is not None and not future.done():
            future.set_result(reason_code)
        if self._unconfirmed:
            self._hurry_broker()

    def _hurry_broker(self) -> None:
        """Have the kernel tell that we got a packet. A broker whose socket waits for that (Nagle's
        algorithm) sends all further confirms only then, and the kernel would take its time."""
        line = self._client.socket()
        if sys.platform == "linux" and isinstance(line, socket.socket):
            with contextlib.suppress(OSError):
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _user(self) -> str:
        return f"the user {self._broker.username}" if self._broker.username else "nameless users"

    def _place(self) -> str:
        return f"{self._broker.host}:{self._broker.port}"


@asynccontextmanager
async def connected(broker: BrokerSettings, session: str | None = None) -> AsyncIterator[Client]:
    """A connection; raises BusUnavailable or BusRefused."""
    client = _made(broker, session)
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        # Its connect runs in a thread: who is cancelled here must not leave it behind.
        await asyncio.shield(entering)
    except aiomqtt.MqttError as error:
        client.hang_up()
        raise client.refusal(error) from error
    except asyncio.CancelledError:
        entering.add_done_callback(lambda done: _abandoned(client, done))
        raise
    try:
        yield client
    finally:
        await client.leave()


def _quiet() -> logging.Logger:
    """The library tells of each stumble of a connection; what matters of it, we tell."""
    logger = logging.getLogger(f"{__name__}.library")
    logger.setLevel(logging.CRITICAL)
    return logger


def _made(broker: BrokerSettings, session: str | None) -> Client:
    try:
        return Client(broker, session)
    except OSError as error:
        # ca_file is read here.
        raise BusRefused(f"The broker {broker.name}: {broker.ca_file}: {error}") from error


def _abandoned(client: Client, entering: "asyncio.Future[Any]") -> None:
    if not entering.cancelled():
        entering.exception()
    client.hang_up()


def _session_options(broker: BrokerSettings, session: str | None) -> dict[str, Any]:
    if broker.version == "3.1.1":
        return {"protocol": aiomqtt.ProtocolVersion.V311, "clean_session": session is None}
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = _KEPT_SECONDS if session else 0
    return {
        "protocol": aiomqtt.ProtocolVersion.V5,
        "clean_start": session is None,
        "properties": properties,
    }
