"""Samples: what a node measured at one moment, as a message and out of one. Pure."""

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from tesp.bus import Message, Value, prodiguer, tael
from tesp.bus.prodiguer import Producer
from tesp.errors import MessageRefused

MEASURED, ENDED, LISTENING = "measured", "ended", "listening"
APP = "metrics"
_TYPE = "7000"
_MOST_VALUES = 200
# What is a number, and measured by nobody.
_OF_THE_MESSAGE = ("ts",)
_MOST = 1e300


@dataclass(frozen=True, slots=True)
class Sample:
    """What a node said. `is_last`: it was ended in order, and no more will come."""

    host: str
    time: float
    values: Mapping[str, float]
    id: str
    correlation: str
    hops: int
    is_last: bool = False


def topic(prefix: str, host: str) -> str:
    """Where a node says how it does."""
    return f"{prefix}/infrastructure/metrics/{tael.who(host)}/status"


def every_topic(prefix: str) -> str:
    """The filter of what all nodes say."""
    return f"{prefix}/infrastructure/metrics/+/status"


def message(
    prefix: str, producer: Producer, host: str, values: Mapping[str, float], status: str = MEASURED
) -> Message:
    """A sample as a message; Prodiguer's type 7000."""
    now, name = time.time(), str(uuid.uuid4())
    said: dict[str, Value] = {
        "host": host,
        "time": datetime.fromtimestamp(now, UTC).isoformat(),
        **values,
        "announce": False,
        "status": status,
    }
    plain = Message(topic(prefix, host), said, name, now, name)
    return prodiguer.addressed(plain, producer, _TYPE, host)


def sample(message: Message, now: float) -> Sample:
    """The sample in a message; raises MessageRefused. The topic says whose it is, for that is
    what a broker permits; a clock that is ahead is not believed."""
    host = message.topic.split("/")[-2]
    status = message.payload.get("status")
    if status not in (MEASURED, ENDED):
        raise MessageRefused(f"status is {str(status)[:40]!r}, neither {MEASURED} nor {ENDED}")
    values = {
        key: number
        for key, value in message.payload.items()
        if key not in _OF_THE_MESSAGE and (number := _number(value)) is not None
    }
    if len(values) > _MOST_VALUES:
        raise MessageRefused(f"a sample has {_MOST_VALUES} values at most")
    at = min(message.time, now)
    return Sample(host, at, values, message.id, message.correlation, message.hops, status == ENDED)


def _number(value: Value) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < _MOST else None
