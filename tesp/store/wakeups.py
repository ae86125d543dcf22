"""News for the dispatcher: kept until somebody asks, never lost between two questions."""

import asyncio
import heapq
from collections.abc import Callable, Iterable


class Wakeups:
    """Times at which there is something to look at; 0 is at once."""

    def __init__(self, clock: Callable[[], float], times: Iterable[float]) -> None:
        self._clock = clock
        self._times = list(times)
        heapq.heapify(self._times)
        self._added = asyncio.Event()

    def add(self, times: Iterable[float]) -> None:
        """There will be something to look at then. To be called in the event loop."""
        for time in times:
            # One that says "now" is as good as many.
            if not (time == 0 and self._times and self._times[0] == 0):
                heapq.heappush(self._times, time)
        self._added.set()

    async def wait(self, timeout_seconds: float) -> bool:
        """Wait until a time has come, and take it; False at the timeout."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while not self._take():
            rest = deadline - loop.time()
            if rest <= 0:
                return False
            self._added.clear()
            try:
                async with asyncio.timeout(min(rest, self._next())):
                    await self._added.wait()
            except TimeoutError:
                continue
        return True

    def _next(self) -> float:
        return max(0.001, self._times[0] - self._clock()) if self._times else float("inf")

    def _take(self) -> bool:
        now, taken = self._clock(), False
        while self._times and self._times[0] <= now:
            heapq.heappop(self._times)
            taken = True
        return taken
