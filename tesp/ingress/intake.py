"""The intake of events: valid ones, each once, kept until they are delivered."""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

from tesp.bus import Delivery, tael
from tesp.errors import BusError, MessageRefused, TespError
from tesp.ingress import Deliver, voevent
from tesp.ingress.memory import Memory
from tesp.ingress.voevent import VOEvent
from tesp.threads import in_thread

_log = logging.getLogger(__name__)

_DAY = 86400.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 30.0
_FORGET_EVERY = 500
_CLOSING_SECONDS = 10.0


class Intake:
    """Takes packets from receivers and subscribers alike.

    What is taken is on disk before the sender is told, and delivered in that order, however long
    nobody takes it and however often we are killed meanwhile.
    """

    def __init__(
        self,
        deliver: Deliver,
        file: Path,
        prefix: str,
        *,
        directory: Path | None = None,
        remember_days: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._deliver = deliver
        self._file = file
        self._prefix = prefix
        self._directory = directory
        self._remember_seconds = remember_days * _DAY
        self._clock = clock
        self._memory: Memory | None = None
        self._news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._worker: asyncio.Task[None] | None = None
        self._taken = 0
        self._listeners: list[Callable[[VOEvent], None]] = []

    def tell(self, listener: Callable[[VOEvent], None]) -> None:
        """Have somebody told of each new event."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Go on with what was left."""
        self._memory = await in_thread(Memory, self._file)
        self._worker = asyncio.create_task(self._work(self._memory))
        self._news.set()

    async def close(self) -> None:
        """Leave what waits to the next start, but end what is being delivered: else it would be
        delivered again."""
        if self._worker is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS), self._turn:
                    self._worker.cancel()
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        if self._memory is not None:
            await in_thread(self._memory.close)

    async def take(self, raw: bytes, trusted: bool) -> VOEvent:
        """Keep a packet, or know it again; raises MessageRefused, and BusError for a bad disk."""
        assert self._memory is not None
        event = await in_thread(voevent.parsed, raw)
        voevent.message(event, self._prefix, self._clock())
        if not await in_thread(self._keep, self._memory, event, trusted):
            _log.info("The event %s came again.", event.ivorn)
            return event
        for listener in self._listeners:
            listener(event)
        self._news.set()
        return event

    def _keep(self, memory: Memory, event: VOEvent, trusted: bool) -> bool:
        """Whether it is new. What a stranger has sent before comes once more from who is trusted:
        nobody unknown can take an event away from those who act on trusted ones alone."""
        theirs, ours = event.digest, f"trusted:{event.digest}"
        if memory.knows(ours):
            return False
        return memory.keep(ours if trusted else theirs, event.raw, trusted, self._clock())

    async def _work(self, memory: Memory) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            try:
                await self._news.wait()
                self._news.clear()
                while kept := await in_thread(memory.oldest):
                    async with self._turn:
                        await self._pass_on(memory, *kept)
                    pause = _SHORTEST_PAUSE
            except TespError as error:
                _log.warning("Events wait: %s", error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                self._news.set()

    async def _pass_on(self, memory: Memory, identifier: str, raw: bytes, trusted: bool) -> None:
        try:
            event = await in_thread(voevent.parsed, raw)
            await in_thread(self._save, event)
            message = voevent.message(event, self._prefix, self._clock())
            await self._deliver(Delivery(message, tael.encode(message), trusted))
        except MessageRefused as error:
            _log.warning("An event was dropped: %s", error)
        await in_thread(memory.delivered, identifier)
        self._taken += 1
        if self._taken % _FORGET_EVERY == 1:
            before = self._clock() - self._remember_seconds
            await in_thread(memory.forget, before)

    def _save(self, event: VOEvent) -> None:
        """As a file of its own, where a directory is set; a name that is taken gets a longer one.

        A second try finds the file of the first.
        """
        if self._directory is None:
            return
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / voevent.file_name(event.ivorn)
            while path.exists():
                if _digest(path) == event.digest:
                    return
                path = path.with_name(f"{path.name}_")
            part = self._directory / f".{event.digest}.part"
            part.write_bytes(event.raw)
            part.replace(path)
        except OSError as error:
            raise BusError(f"{self._directory} takes no event: {error.strerror}.") from error


def _digest(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
    return None
