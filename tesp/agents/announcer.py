"""What an agent has to say, in order, without ever making it wait."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tesp.bus import Message
from tesp.bus.sender import Sender, Sent
from tesp.errors import BusError

_log = logging.getLogger(__name__)

_REPLAY_SECONDS = 2.0


class Announcer:
    """A sender behind a queue. What no broker takes waits in the spool, and goes by itself as
    soon as the broker is back."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._queue: asyncio.Queue[Message | None] = asyncio.Queue()

    def say(self, message: Message) -> None:
        """Announce it soon."""
        self._queue.put_nowait(message)

    @asynccontextmanager
    async def speaking(self) -> AsyncIterator[None]:
        """While entered, it speaks; at the end all is sent, or in the spool."""
        speaking = asyncio.create_task(self._speak())
        try:
            yield
        finally:
            self._queue.put_nowait(None)
            await speaking

    async def _speak(self) -> None:
        spooled = True
        while True:
            try:
                async with asyncio.timeout(_REPLAY_SECONDS if spooled else None):
                    message = await self._queue.get()
            except TimeoutError:
                spooled = await self._send()
                continue
            if message is None:
                return
            spooled = await self._send(message)

    async def _send(self, *messages: Message) -> bool:
        """Whether something is left in the spool."""
        try:
            sent = await (self._sender.send(messages) if messages else self._sender.flush())
        except BusError as error:
            _log.error("An announcement cannot be made: %s", error)
            return False
        return sent is Sent.SPOOLED
