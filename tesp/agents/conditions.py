"""Whether a message is one that a trigger waits for. Pure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

from tesp.bus import Value
from tesp.settings import ConditionSettings
from tesp.settings.patterns import Pattern
from tesp.tes.templates import text_of

# Tael's senders know text alone: "18.5" is a number too.
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")
Test = Callable[[Value], bool]


class Conditions:
    """All of them must hold; without any, every message fits."""

    def __init__(self, when: Mapping[str, Value | ConditionSettings]) -> None:
        self._tests = {field: _tests(wanted) for field, wanted in when.items()}

    def hold(self, payload: Mapping[str, Value]) -> bool:
        """Whether they hold for these fields. A field that is missing, or null, fits nothing."""
        return all(
            payload.get(field) is not None and all(test(payload[field]) for test in tests)
            for field, tests in self._tests.items()
        )


def _tests(wanted: Value | ConditionSettings) -> Sequence[Test]:
    if not isinstance(wanted, ConditionSettings):
        return [lambda value: _same(value, wanted)]
    one_of, pattern = wanted.one_of, wanted.matches and Pattern(wanted.matches)
    tests: list[Test | None] = [
        None if wanted.equals is None else lambda v: _same(v, wanted.equals),
        None if wanted.differs is None else lambda v: not _same(v, wanted.differs),
        None if one_of is None else lambda v: any(_same(v, one) for one in one_of),
        None if wanted.below is None else _number(lambda v, most: v < most, wanted.below),
        None if wanted.at_most is None else _number(lambda v, most: v <= most, wanted.at_most),
        None if wanted.above is None else _number(lambda v, least: v > least, wanted.above),
        None if wanted.at_least is None else _number(lambda v, least: v >= least, wanted.at_least),
        (lambda v: pattern.finds(text_of(v))) if isinstance(pattern, Pattern) else None,
    ]
    return [test for test in tests if test is not None]


def _number(compare: Callable[[float, float], bool], limit: float) -> Test:
    def test(value: Value) -> bool:
        number = _as_number(value)
        return number is not None and compare(number, limit)

    return test


def _same(value: Value, wanted: Value) -> bool:
    """As text, for some senders know nothing else; numbers as numbers."""
    if _is_number(value) and _is_number(wanted):
        return value == wanted
    return text_of(value) == text_of(wanted)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _as_number(value: Value) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
