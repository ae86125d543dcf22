"""An allowance: so many in so long a time, and not one more."""

from collections import deque


class Allowance:
    """At most `most` within any `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._taken: deque[float] = deque(maxlen=most)

    def wait_seconds(self, now: float) -> float:
        """How long until there is another; 0 where there is one now."""
        if len(self._taken) < self._most:
            return 0.0
        return max(0.0, self._taken[0] + self._seconds - now)

    def take(self, now: float) -> None:
        """Take one."""
        self._taken.append(now)
