"""The subscriber: events of a broker, for as long as we live."""

import asyncio
import logging
import random
import time

from tesp.errors import BusError, MessageRefused
from tesp.ingress import vtp, vtp_stream
from tesp.ingress.intake import Intake
from tesp.ingress.vtp_stream import Stream
from tesp.settings.ingress import RemoteBroker, VoeventSettings

_log = logging.getLogger(__name__)

_CONNECT_SECONDS = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0


class Subscriber:
    """Subscribes to one broker, and again whenever it is silent for too long or away."""

    def __init__(
        self,
        settings: VoeventSettings,
        remote: RemoteBroker,
        intake: Intake,
        *,
        silence_seconds: float = 120.0,
    ) -> None:
        self._settings = settings
        self._remote = remote
        self._intake = intake
        self._silence_seconds = silence_seconds
        self._pause = _SHORTEST_PAUSE
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the subscription."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        remote = self._remote
        while True:
            reason: object = "it closed the connection"
            try:
                async with vtp_stream.connected(
                    remote.host, remote.port, self._settings.most_event_bytes, _CONNECT_SECONDS
                ) as stream:
                    await self._listen(stream)
            except TimeoutError:
                reason = f"it was silent for {self._silence_seconds:g} s"
            except (BusError, OSError) as error:
                reason = error
            _log.warning("The broker %s:%d: %s; again soon", remote.host, remote.port, reason)
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    async def _listen(self, stream: Stream) -> None:
        while True:
            async with asyncio.timeout(self._silence_seconds):
                raw = await stream.next()
            if raw is None:
                return
            self._pause = _SHORTEST_PAUSE
            await self._answer(stream, raw)

    async def _answer(self, stream: Stream, raw: bytes) -> None:
        try:
            said = await asyncio.to_thread(vtp.read, raw)
            if said is None:
                event = await self._intake.take(raw, self._remote.trusted)
                await stream.send(self._written("ack", event.ivorn))
            elif said.role == "iamalive":
                await stream.send(self._written("iamalive", said.origin))
            elif said.role == "authenticate":
                filters = self._remote.filters
                await stream.send(self._written("authenticate", said.origin, filters))
        except MessageRefused as error:
            # A nak would end the subscription; the event is lost either way.
            _log.warning("The broker %s sent what is no event: %s", stream.peer, error)
            await stream.send(self._written("ack", "ivo://unknown/unknown"))

    def _written(self, role: vtp.Role, origin: str, filters: tuple[str, ...] = ()) -> bytes:
        ours = self._settings.local_ivo
        return vtp.written(role, origin, time.time(), response=ours, filters=filters)
