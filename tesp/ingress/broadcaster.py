"""The broadcaster: whoever subscribes gets each new event."""

import asyncio
import contextlib
import logging
import time

from tesp.errors import MessageRefused
from tesp.ingress import vtp
from tesp.ingress.doorway import Doorway, streams
from tesp.ingress.voevent import VOEvent
from tesp.ingress.vtp_stream import Stream
from tesp.settings.ingress import VoeventSettings

_log = logging.getLogger(__name__)

_MOST_WAITING = 100
_SILENT_ROUNDS = 2


class Broadcaster:
    """Tells its subscribers; one that is slow or silent loses its connection, not our time.

    Filters that a subscriber asks for are left alone: it gets all, as the protocol allows.
    """

    def __init__(self, settings: VoeventSettings, *, alive_seconds: float = 60.0) -> None:
        self._settings = settings
        self._alive_seconds = alive_seconds
        self._doorway = Doorway(
            "ingress.voevent", settings.host, settings.broadcast_port, streams(self._connected)
        )
        self._subscribers: dict[asyncio.Task[None], asyncio.Queue[bytes]] = {}

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._doorway.port

    @property
    def count(self) -> int:
        """How many subscribe."""
        return len(self._subscribers)

    async def start(self) -> None:
        """Listen; raises SettingsError where that cannot be."""
        await self._doorway.open()

    async def close(self) -> None:
        """End all subscriptions."""
        self._doorway.close()
        tasks = list(self._subscribers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def broadcast(self, event: VOEvent) -> None:
        """Give an event to all who subscribe now."""
        for task, queue in list(self._subscribers.items()):
            try:
                queue.put_nowait(event.raw)
            except asyncio.QueueFull:
                task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = Stream(reader, writer, self._settings.most_event_bytes)
        task = asyncio.current_task()
        assert task is not None
        is_full = len(self._subscribers) >= self._settings.connections
        try:
            if is_full or not stream.is_one_of(self._settings.subscribers):
                _log.warning("%s may not subscribe", stream.peer)
                return
            self._subscribers[task] = asyncio.Queue(_MOST_WAITING)
            await self._serve(stream, self._subscribers[task])
        except (OSError, TimeoutError, MessageRefused) as error:
            _log.info("The subscriber %s is gone: %s", stream.peer, error or "it was silent")
        finally:
            self._subscribers.pop(task, None)
            await stream.close()

    async def _serve(self, stream: Stream, queue: asyncio.Queue[bytes]) -> None:
        ours = self._settings.local_ivo
        await stream.send(vtp.written("authenticate", ours, time.time()))
        sending = asyncio.create_task(self._send(stream, queue))
        try:
            while True:
                async with asyncio.timeout(_SILENT_ROUNDS * self._alive_seconds):
                    raw = await stream.next()
                if raw is None or await asyncio.to_thread(_ends, raw):
                    return
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, TimeoutError):
                await sending

    async def _send(self, stream: Stream, queue: asyncio.Queue[bytes]) -> None:
        loop = asyncio.get_running_loop()
        alive_at = loop.time() + self._alive_seconds
        while True:
            try:
                async with asyncio.timeout_at(alive_at):
                    body = await queue.get()
            except TimeoutError:
                body = vtp.written("iamalive", self._settings.local_ivo, time.time())
                alive_at = loop.time() + self._alive_seconds
            async with asyncio.timeout(_SILENT_ROUNDS * self._alive_seconds):
                await stream.send(body)


def _ends(raw: bytes) -> bool:
    """Whether a subscriber says that it wants no more; raises MessageRefused."""
    said = vtp.read(raw)
    return said is not None and said.role == "nak"
