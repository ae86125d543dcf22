"""Tael: what a task's event, and any message, is on MQTT. Flat JSON, `status` last. Pure."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from tesp.bus import Message, Value, filters
from tesp.bus.moments import seconds_of
from tesp.errors import MessageRefused
from tesp.events import Event
from tesp.tes.states import State

MOST_BYTES = 512 * 1024
_MOST_KEYS = 1000
_LONGEST_KEY = 128
_LONGEST_ID = 255
_LONGEST_WHO_BYTES = 100
_LONGEST_REASON = 4096
_LONGEST_NAME = 1024
_NAMELESS = "tasks"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:message")
# What the payload says of the message itself, for MQTT 3.1.1 has nowhere else to say it.
_ID, _CORRELATION, _HOPS = "message_id", "correlation_id", "hops"

STATUSES = {
    State.UNKNOWN: "unknown",
    State.QUEUED: "queued",
    State.INITIALIZING: "initializing",
    State.RUNNING: "started",
    State.PAUSED: "paused",
    State.COMPLETE: "finished",
    State.EXECUTOR_ERROR: "failed",
    State.SYSTEM_ERROR: "failed",
    State.PREEMPTED: "failed",
    State.CANCELED: "canceled",
    State.CANCELING: "canceling",
}


def who(name: str | None) -> str:
    """What a task's name is in a topic; `tasks` where it has none."""
    safe = "".join(
        # A dot parts the words of an AMQP key, as a slash does the levels of a topic.
        sign if (sign.isprintable() and sign not in "+#/.*") else "_"
        for sign in name or ""
    )
    return safe.encode()[:_LONGEST_WHO_BYTES].decode(errors="ignore") or _NAMELESS


def status_topic(prefix: str, pipeline: str | None) -> str:
    """Where a pipeline tells how it does."""
    return f"{prefix}/infrastructure/pipelines/{who(pipeline)}/status"


def every_status_topic(prefix: str) -> str:
    """The filter of what all pipelines tell."""
    return f"{prefix}/infrastructure/pipelines/+/status"


def control_topic(prefix: str, pipeline: str | None) -> str:
    """Where a pipeline is told what to do."""
    return f"{prefix}/infrastructure/pipelines/{who(pipeline)}/control"


def message(event: Event, prefix: str) -> Message:
    """A task's event as a message."""
    payload: dict[str, Value] = {
        "task": event.task,
        "state": event.state.value,
        "name": event.name and event.name[:_LONGEST_NAME],
        "owner": event.owner,
        "attempt": event.attempt,
        "reason": event.reason and event.reason[:_LONGEST_REASON],
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(),
        "ts": int(event.time),
        "status": STATUSES[event.state],
    }
    return Message(
        topic=status_topic(prefix, event.name),
        payload=payload,
        id=event.id,
        time=event.time,
        correlation=event.correlation,
        hops=event.hops,
    )


def encode(message: Message) -> bytes:
    """The body of a message; raises MessageRefused where none can be made of it."""
    filters.checked_topic(message.topic)
    said = dict(message.payload)
    status = {"status": said.pop("status")} if "status" in said else {}
    own = {_ID: message.id, _CORRELATION: message.correlation, _HOPS: message.hops}
    whole = {**said, "ts": said.get("ts", int(message.time)), **own, **status}
    _check(whole)
    try:
        body = orjson.dumps(whole)
    except orjson.JSONEncodeError as error:
        raise MessageRefused(f"this cannot be said in JSON: {error}") from None
    return _sized(body)


def decode(topic: str, body: bytes, arrived: float) -> Message:
    """What a body says; raises MessageRefused. Whoever gave no id gets one of topic and body."""
    payload = parsed(body)
    made = str(uuid.uuid5(_NAMESPACE, f"{topic}\0{body.hex()}"))
    known = _identifier(payload, _ID) or made
    correlation = _identifier(payload, _CORRELATION) or known
    hops = hops_of(payload.pop(_HOPS, 0))
    time = _time(payload, arrived)
    return Message(filters.checked_topic(topic), payload, known, time, correlation, hops)


def parsed(body: bytes) -> dict[str, Value]:
    """A body as flat keys and values; raises MessageRefused."""
    try:
        payload = orjson.loads(_sized(body))
    except orjson.JSONDecodeError as error:
        raise MessageRefused(f"the body is no JSON: {error.msg}") from None
    if not isinstance(payload, dict):
        raise MessageRefused("the body is no JSON object")
    _check(payload)
    return payload


def _sized(body: bytes) -> bytes:
    if len(body) > MOST_BYTES:
        raise MessageRefused(f"the body has {len(body)} bytes; the most is {MOST_BYTES}")
    return body


def _check(payload: Mapping[Any, Any]) -> None:
    if len(payload) > _MOST_KEYS:
        raise MessageRefused(f"the body has {len(payload)} keys; the most is {_MOST_KEYS}")
    for key, value in payload.items():
        if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY or not key.isprintable():
            raise MessageRefused(f"{str(key)[:_LONGEST_KEY]!r} is no key: 1 to 128 printable signs")
        if not isinstance(value, str | int | float | bool | None):
            kind = "a list" if isinstance(value, list) else "an object"
            raise MessageRefused(f"the body is not flat: {key} is {kind}")


def _identifier(payload: dict[str, Value], key: str) -> str | None:
    value = payload.pop(key, None)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > _LONGEST_ID or not value.isprintable():
        raise MessageRefused(f"{key} is no string of 1 to {_LONGEST_ID} printable signs")
    return value


def hops_of(value: object) -> int:
    """A count of hops as it came; raises MessageRefused."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise MessageRefused(f"{_HOPS} is no number of hops")
    return value


def _time(payload: Mapping[str, Value], arrived: float) -> float:
    """By `time` where that is a moment in ISO 8601, else by Tael's `ts`."""
    said, seconds = payload.get("time"), payload.get("ts")
    sane = isinstance(seconds, int | float) and 0 < seconds < 1e11
    moment = float(seconds) if sane and isinstance(seconds, int | float) else arrived
    # Tael's beacon says HHMMSS there.
    return seconds_of(said, moment) if isinstance(said, str) and "T" in said else moment
