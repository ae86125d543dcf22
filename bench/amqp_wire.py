"""AMQP with nothing around it: how fast a broker confirms what is only written to its socket."""

import socket
import time
from typing import Any

from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.exceptions import UnmarshalingException
from pamqp.header import ContentHeader, ProtocolHeader

_CHANNEL = 1
_AT_ONCE, _STEP = 500, 100


class AmqpWire:
    """One connection with one channel that confirms."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._read = b""
        self._sent = 0
        self._socket.sendall(ProtocolHeader().marshal())
        self._until(commands.Connection.Start)
        self._send(0, commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest"))
        tune = self._until(commands.Connection.Tune)
        self._send(0, commands.Connection.TuneOk(tune.channel_max, tune.frame_max, 0))
        self.call(commands.Connection.Open("/"), commands.Connection.OpenOk, channel=0)
        self.call(commands.Channel.Open(), commands.Channel.OpenOk)
        self.call(commands.Confirm.Select(), commands.Confirm.SelectOk)

    def call(self, method: Any, answer: type[Any], channel: int = _CHANNEL) -> None:
        """Send a method, and wait for its answer."""
        self._send(channel, method)
        self._until(answer)

    def publish(self, exchange: str, key: str, body: bytes, count: int) -> float:
        """Send so many persistent messages; seconds until all are confirmed."""
        properties = commands.Basic.Properties(delivery_mode=2, content_type="application/json")
        parts = (
            commands.Basic.Publish(exchange=exchange, routing_key=key),
            ContentHeader(body_size=len(body), properties=properties),
            ContentBody(body),
        )
        one = b"".join(frame.marshal(part, _CHANNEL) for part in parts)
        began, sent, waiting = time.monotonic(), 0, set[int]()
        while sent < count or waiting:
            if sent < count and len(waiting) < _AT_ONCE:
                some = min(_STEP, count - sent)
                self._socket.sendall(one * some)
                waiting |= set(range(self._sent + 1, self._sent + some + 1))
                sent, self._sent = sent + some, self._sent + some
                continue
            ack = self._until(commands.Basic.Ack)
            tag = ack.delivery_tag
            waiting = {t for t in waiting if t > tag} if ack.multiple else waiting - {tag}
        return time.monotonic() - began

    def _send(self, channel: int, method: Any) -> None:
        self._socket.sendall(frame.marshal(method, channel))

    def _until(self, kind: type[Any]) -> Any:
        while True:
            try:
                size, _, value = frame.unmarshal(self._read)
            except (UnmarshalingException, ValueError):
                more = self._socket.recv(1 << 16)
                assert more, "the broker hung up"
                self._read += more
                continue
            self._read = self._read[size:]
            if isinstance(value, kind):
                return value
