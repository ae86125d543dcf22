"""The sampler: measures this node again and again, and says so."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress

from tesp.agents.announcer import Announcer
from tesp.agents.metrics import samples
from tesp.agents.metrics.machine import Machine
from tesp.bus.prodiguer import Producer


class Sampler:
    """One node. What no broker takes waits on disk; a node never waits for a broker."""

    def __init__(
        self,
        machine: Machine,
        announcer: Announcer,
        prefix: str,
        producer: Producer,
        host: str,
        every_seconds: float,
    ) -> None:
        self._machine, self._announcer = machine, announcer
        self._prefix, self._producer, self._host = prefix, producer, host
        self._every_seconds = every_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """At once, then at each interval, until the event is set: that is said, too."""
        start = time.monotonic()
        async with self._announcer.speaking():
            while not stop.is_set():
                self._say(samples.MEASURED, await asyncio.to_thread(self._machine.measure))
                passed = time.monotonic() - start
                pause = self._every_seconds - passed % self._every_seconds
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await stop.wait()
            self._say(samples.ENDED, {})

    def _say(self, status: str, values: Mapping[str, float]) -> None:
        said = {"interval_seconds": self._every_seconds, **values}
        self._announcer.say(samples.message(self._prefix, self._producer, self._host, said, status))
