"""Alarms: which limits a node has crossed, and which of them it is within again. Pure."""

import time
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tesp.bus import Message, tael
from tesp.settings import LimitSettings

SILENT = "silent"
RAISED, OVER = "raised", "over"
_DISK = "disk_percent:"
# An alarm is over when the value is so far below its limit: one that swings about it would be
# raised again and again.
_EASED = 0.95


@dataclass(frozen=True, slots=True)
class Crossing:
    """A limit that was crossed, or that the node is within again (`is_over`). `value` is None
    where nobody measures it any more."""

    what: str
    value: float | None
    limit: float
    is_over: bool = False


def crossings(
    limits: LimitSettings, values: Mapping[str, float], raised: Collection[str]
) -> list[Crossing]:
    """What a sample changes, given the alarms that are raised already."""
    found, watched = [], set[str]()
    for what, value, limit in _watched(limits, values):
        watched.add(what)
        if what not in raised and value >= limit:
            found.append(Crossing(what, value, limit))
        elif what in raised and value < limit * _EASED:
            found.append(Crossing(what, value, limit, is_over=True))
    lost = [what for what in raised if what not in watched and what != SILENT]
    return found + [Crossing(what, None, 0.0, is_over=True) for what in lost]


def _watched(
    limits: LimitSettings, values: Mapping[str, float]
) -> Iterator[tuple[str, float, float]]:
    for what in ("cpu_percent", "memory_percent", "swap_percent"):
        limit = getattr(limits, what)
        if limit is not None and what in values:
            yield what, values[what], limit
    if limits.load_per_cpu is not None and "load_5" in values:
        cpus = max(values.get("cpus", 1.0), 1.0)
        yield "load_per_cpu", round(values["load_5"] / cpus, 3), limits.load_per_cpu
    for what, value in values.items():
        if limits.disk_percent is not None and what.startswith(_DISK):
            yield what, value, limits.disk_percent


def topic(prefix: str, host: str) -> str:
    """Where the alarms of a node are told."""
    return f"{prefix}/infrastructure/alarms/{tael.who(host)}/status"


def message(prefix: str, host: str, crossing: Crossing, correlation: str, hops: int) -> Message:
    """The word of a crossing. The end of an alarm shares its correlation id."""
    said = {
        "host": host,
        "alarm": crossing.what,
        "value": crossing.value,
        "limit": crossing.limit,
        "announce": True,
        "status": OVER if crossing.is_over else RAISED,
    }
    name = str(uuid.uuid4())
    return Message(topic(prefix, host), said, name, time.time(), correlation or name, hops)
