"""The beacon: a message every few minutes, which shows that the bus is alive."""

import asyncio
import logging
import time
import uuid
from datetime import UTC, datetime

from tesp.bus import Bus, Message
from tesp.errors import BusUnavailable

_log = logging.getLogger(__name__)


class Beacon:
    """Says the date and the time on `{prefix}/test/beacon/status`."""

    def __init__(self, bus: Bus, prefix: str, every_seconds: float) -> None:
        self._bus = bus
        self._prefix = prefix
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """At once, then at each interval. One that cannot be sent is of no use later: it is left
        out. Raises BusRefused."""
        start = time.monotonic()
        while True:
            try:
                await self._bus.publish([self._message(datetime.now(UTC))])
            except BusUnavailable as error:
                _log.warning("No beacon: %s", error)
            passed = time.monotonic() - start
            await asyncio.sleep(self._every_seconds - passed % self._every_seconds)

    def _message(self, now: datetime) -> Message:
        payload = {
            "date": now.strftime("%Y%m%d"),
            "time": now.strftime("%H%M%S"),
            "status": "finished",
        }
        name = str(uuid.uuid4())
        return Message(f"{self._prefix}/test/beacon/status", payload, name, now.timestamp(), name)
