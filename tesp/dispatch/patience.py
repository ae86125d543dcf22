"""How long something that is out of reach is waited for."""

import asyncio
import time

_FIRST_SECONDS = 0.2
_LONGEST_SECONDS = 10.0


class Patience:
    """Waits longer each time, and comes to its end when `seconds` have passed since the first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: float | None = None
        self._pause = _FIRST_SECONDS

    async def wait(self) -> bool:
        """Wait a while; False where it is at its end."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        if now - self._first >= self._seconds:
            return False
        await asyncio.sleep(self._pause)
        self._pause = min(_LONGEST_SECONDS, 2 * self._pause)
        return True
