"""Prodiguer: what a message is on AMQP. A key of five words, properties, headers. Pure."""

import base64
import binascii
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tesp.bus import Message, Value, filters, tael
from tesp.errors import MessageRefused
from tesp.events import Event
from tesp.tes.states import State

PRIORITY = 4
CONTENT_TYPE = "application/json"
CONTENT_ENCODING = "utf-8"
EXCHANGE = "x-primary"
# The exchange that RabbitMQ's MQTT plugin speaks to: there the routing key is the topic.
MQTT_EXCHANGE = "amq.topic"
_LONGEST_KEY_BYTES = 255
_KEY = re.compile(r"[^.]+\.[^.]+\.[^.]+\.[^.]+\.(\d{4})")
_APPS = ("internal", "monitoring", "metrics", "superviseur")

TYPES = {
    "0000": "simulation starts",
    "0100": "simulation ends",
    "1000": "job starts",
    "1001": "job goes on",
    "1100": "job ends",
    "1900": "a command of the job failed, or it was canceled",
    "1999": "job fails",
    "2000": "post-processing starts",
    "2100": "post-processing ends",
    "2900": "a command of post-processing failed",
    "2999": "post-processing fails",
    "7000": "metrics of a node",
    "7010": "configuration of metrics",
    "7011": "metrics of a model",
    "7100": "metrics file",
    "8000": "job is late: detected",
    "8100": "job is late: script made",
    "8200": "job is late: script sent",
    "8888": "delete",
}
CODES = {
    State.UNKNOWN: "1001",
    State.QUEUED: "0000",
    State.INITIALIZING: "1001",
    State.RUNNING: "1000",
    State.PAUSED: "1001",
    State.COMPLETE: "1100",
    State.EXECUTOR_ERROR: "1999",
    State.SYSTEM_ERROR: "1999",
    State.PREEMPTED: "1999",
    State.CANCELED: "1900",
    State.CANCELING: "1001",
}
# What agents say has types and topics of its own, which others may write than who tells of tasks.
_OF_AGENTS = {
    "2100": "infrastructure.publications",
    "2999": "infrastructure.publications",
    "7000": "infrastructure.metrics",
    "8000": "infrastructure.late",
}
_BY_AGENTS = re.compile(r".+\.(agents|infrastructure\.(?!pipelines\.)[^.]+)\..+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Producer:
    """Who speaks: the first four words of a key, and the version of the program."""

    mode: str = "prod"
    user: str = "tesp"
    producer: str = "tesp"
    app: str = "monitoring"
    version: str = "1"

    def key(self, type_code: str) -> str:
        """The routing key of a message of this type; raises MessageRefused for an unknown one."""
        words = (self.mode, self.user, self.producer, self.app, _known(type_code))
        return ".".join(words).lower()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as AMQP carries it. `also` are more routing keys; a queue gets one copy."""

    body: bytes
    key: str
    also: tuple[str, ...] = ()
    type: str | None = None
    app_id: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    correlation_id: str | None = None
    content_type: str | None = CONTENT_TYPE
    headers: Mapping[str, Any] = field(default_factory=dict)


def addressed(message: Message, producer: Producer, type_code: str, job: str) -> Message:
    """The message with its key, type and headers; `job` is what correlation_id_2 says."""
    moment = datetime.fromtimestamp(message.time, UTC)
    headers: dict[str, Value] = {
        "producer_id": producer.producer,
        "producer_version": producer.version,
        "timestamp": moment.isoformat(),
        "timestamp_raw": int(message.time * 1e9),
        "correlation_id_1": message.correlation,
        "correlation_id_2": job,
    }
    key = producer.key(type_code)
    return dataclasses.replace(message, key=key, type=type_code, headers=headers)


def message(event: Event, prefix: str, producer: Producer) -> Message:
    """A task's event with both its projections: Tael's topic and payload, Prodiguer's key."""
    return addressed(tael.message(event, prefix), producer, CODES[event.state], event.task)


def enveloped(message: Message, exchange: str = EXCHANGE) -> Envelope:
    """A message for an exchange; raises MessageRefused.

    Its first key is Prodiguer's where it has one and its second the topic; on the exchange of
    the MQTT plugin the topic comes first, for the plugin's subscribers see no other.
    """
    body = tael.encode(message)
    key, *also = _keys(message, exchange)
    own = {
        "topic": message.topic,
        "correlation_id": message.correlation,
        "hops": message.hops,
    }
    words = (message.key or "").split(".")
    return Envelope(
        body=body,
        key=key,
        also=tuple(also),
        type=message.type and _known(message.type),
        app_id=words[3] if len(words) == 5 else _APPS[1],
        message_id=message.id,
        timestamp=int(message.time),
        correlation_id=message.correlation,
        headers={**message.headers, **own},
    )


def opened(envelope: Envelope, arrived: float) -> Message:
    """The message in an envelope; raises MessageRefused."""
    headers = dict(envelope.headers)
    key = _prodiguer_key((envelope.key, *envelope.also))
    topic = _topic(str(headers.pop("topic", "")), envelope)
    body = _plain(envelope.body, envelope.content_type)
    told = tael.decode(topic, body, float(envelope.timestamp or arrived))
    ours = _text(headers.pop("correlation_id", None))
    correlation = ours or _text(headers.get("correlation_id_1")) or envelope.correlation_id
    hops = headers.pop("hops", told.hops)
    type_code = envelope.type or (key.rpartition(".")[2] if key else None)
    return dataclasses.replace(
        told,
        id=_text(envelope.message_id) or told.id,
        correlation=_text(correlation) or _text(envelope.message_id) or told.correlation,
        hops=tael.hops_of(hops),
        key=key,
        type=type_code and _known(type_code),
        headers=_flat(headers),
    )


def _keys(message: Message, exchange: str) -> list[str]:
    topic = filters.key_of(message.topic)
    keys = [message.key, topic] if message.key else [topic]
    if exchange == MQTT_EXCHANGE:
        keys.reverse()
    for key in keys:
        if len(key.encode()) > _LONGEST_KEY_BYTES:
            raise MessageRefused(f"a topic or key has at most 255 bytes on AMQP: {key[:80]}...")
    return keys


def believed(key: str, also: Sequence[str]) -> tuple[str, ...]:
    """The keys of a message that say what it is: its first, which every broker checks against
    what the sender may write, and beside it only what tesp's own messages have there."""
    return (key, *(k for k in also if _go_together(key, k) or _go_together(k, key)))


def _go_together(key: str, topic: str) -> bool:
    """Whether a message of tesp's own can have this key of Prodiguer and this topic. Who may write
    what agents say, may not say anything else beside it."""
    typed, place = _KEY.fullmatch(key), _BY_AGENTS.fullmatch(topic)
    if not typed or _KEY.fullmatch(topic):
        return False
    by_mail = re.fullmatch(rf".+\.prodiguer\.[^.]+\.{typed[1]}\.status", topic)
    return bool(by_mail) or _OF_AGENTS.get(typed[1]) == (place and place[1])


def _topic(said: str, envelope: Envelope) -> str:
    """By the header where a key says the same: a key cannot tell a dot from a slash."""
    if said and filters.key_of(said) not in (envelope.key, *envelope.also):
        raise MessageRefused(f"the topic {said[:80]!r} of its headers is in none of its keys")
    return said or filters.topic_of(envelope.key)


def _known(type_code: str) -> str:
    if type_code not in TYPES:
        raise MessageRefused(f"{type_code[:40]!r} is no type code; there are {', '.join(TYPES)}")
    return type_code


def _prodiguer_key(keys: Sequence[str]) -> str | None:
    return next((key for key in keys if _KEY.fullmatch(key)), None)


def _plain(body: bytes, content_type: str | None) -> bytes:
    """The JSON of a body that may be base64 of it."""
    if not (content_type or "").startswith("application/base64"):
        return body
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise MessageRefused("the body is no base64, and its content type says so") from None


def _text(value: object) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()
    return value if usable and isinstance(value, str) else None


def _flat(headers: Mapping[str, Any]) -> dict[str, Value]:
    """The headers that are values; brokers put lists and tables of their own beside them."""
    flat: dict[str, Value] = {}
    for name, value in headers.items():
        if isinstance(value, datetime):
            flat[name] = value.isoformat()
        elif isinstance(value, str | int | float | bool | None):
            flat[name] = value
    return flat
