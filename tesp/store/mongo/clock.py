"""How far the server's clock is ahead of one of ours."""

import math
from collections.abc import Awaitable, Callable

_LOOKS = 5
_QUICK_SECONDS = 0.05


async def ahead_seconds(look: Callable[[], Awaitable[float]], clock: Callable[[], float]) -> float:
    """The time that `look` gives, less our clock's: never more than it is, and less by no more than
    an answer takes. Where one took long it is looked again, and the quickest of a few counts."""
    quickest, ahead = math.inf, 0.0
    for _ in range(_LOOKS):
        asked = clock()
        there = await look()
        answered = clock()
        if answered - asked < quickest:
            quickest, ahead = answered - asked, there - answered
        if quickest < _QUICK_SECONDS:
            break
    return ahead
