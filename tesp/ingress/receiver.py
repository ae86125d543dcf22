"""The receiver: authors submit an event each, and are told whether it was taken."""

import asyncio
import logging
import time

from tesp.errors import BusError, MessageRefused
from tesp.ingress import vtp
from tesp.ingress.doorway import Doorway, streams
from tesp.ingress.intake import Intake
from tesp.ingress.vtp_stream import Stream
from tesp.settings.ingress import VoeventSettings

_log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 20.0
_UNKNOWN = "ivo://unknown/unknown"


class Receiver:
    """Listens for authors. The protocol knows no names: trusted are networks."""

    def __init__(self, settings: VoeventSettings, intake: Intake) -> None:
        self._settings = settings
        self._intake = intake
        self._doorway = Doorway(
            "ingress.voevent", settings.host, settings.receive_port, streams(self._connected)
        )
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._doorway.port

    async def start(self) -> None:
        """Listen; raises SettingsError where that cannot be."""
        await self._doorway.open()

    async def close(self) -> None:
        """Take no more."""
        self._doorway.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = Stream(reader, writer, self._settings.most_event_bytes)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            if len(self._open) > self._settings.connections:
                _log.warning("%s was turned away: too many connections", stream.peer)
            elif not stream.is_one_of(self._settings.authors):
                _log.warning("%s may not submit events", stream.peer)
            else:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await self._one(stream)
        except (TimeoutError, OSError) as error:
            _log.info("%s submitted nothing: %s", stream.peer, error or "it was silent")
        finally:
            self._open.discard(task)
            await stream.close()

    async def _one(self, stream: Stream) -> None:
        """One event, one answer."""
        try:
            raw = await stream.next()
            if raw is None:
                return
            trusted = stream.is_one_of(self._settings.trusted_networks)
            event = await self._intake.take(raw, trusted)
            answer = self._answer("ack", event.ivorn)
        except MessageRefused as error:
            _log.warning("%s submitted what is no event: %s", stream.peer, error)
            answer = self._answer("nak", _UNKNOWN, str(error))
        except BusError as error:
            _log.warning("An event could not be kept: %s", error)
            answer = self._answer("nak", _UNKNOWN, "not just now; submit it again later")
        await stream.send(answer)

    def _answer(self, role: vtp.Role, origin: str, result: str | None = None) -> bytes:
        ours = self._settings.local_ivo
        return vtp.written(role, origin, time.time(), response=ours, result=result)
