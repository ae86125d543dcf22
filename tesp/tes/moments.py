"""When a task may start at the earliest: after a countdown, or at a moment. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime

COUNTDOWN, NOT_BEFORE = "countdown", "not_before"
PARAMETERS = frozenset({COUNTDOWN, NOT_BEFORE})
_SECONDS = re.compile(r"[0-9]{1,8}(\.[0-9]{1,6})?")


def wrong_countdown(value: str) -> str | None:
    """What is wrong with a countdown, with the mend."""
    if _SECONDS.fullmatch(value):
        return None
    return "must be a number of seconds, such as 3600"


def wrong_not_before(value: str) -> str | None:
    """What is wrong with a moment, with the mend; one that has passed is at once."""
    moment = _moment(value)
    if moment is None or moment.tzinfo is None:
        return "must be a moment with its zone, such as 2030-01-31T23:00:00Z"
    return None


def delay_seconds(parameters: Mapping[str, str], now: float) -> float:
    """For how long a task waits that is created `now`, by its backend parameters, which have been
    judged; their keys are lower case."""
    if COUNTDOWN in parameters:
        return float(parameters[COUNTDOWN])
    moment = _moment(parameters.get(NOT_BEFORE, ""))
    return max(0.0, moment.timestamp() - now) if moment else 0.0


def _moment(value: str) -> datetime | None:
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None
