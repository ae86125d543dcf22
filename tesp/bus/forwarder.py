"""The forwarder of a service: messages are on disk at once, and go on when they can."""

import asyncio
import logging
from collections.abc import Sequence

from tesp.bus import Message, Outlet, tael
from tesp.bus.depths import Depth
from tesp.bus.sender import Sender, Sent
from tesp.bus.spool import Spool
from tesp.errors import BusError, BusRefused
from tesp.threads import in_thread

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_REFUSED_SECONDS = 60.0
# Another process that shares the spool may have ended before it sent all.
_LOOK_SECONDS = 60.0


class Forwarder:
    """One outlet, and the spool before it. Nothing is lost and nothing overtakes, however long
    the outlet is away and however often we are killed; what was under way then goes again, with
    the same id."""

    def __init__(self, name: str, outlet: Outlet, spool: Spool, at_once: int = 100) -> None:
        """`name` is the outlet's, for people; so many messages at once are what may go again."""
        self.name = name
        self._sender, self._spool = Sender(outlet, spool, at_once), spool
        self._news = asyncio.Event()
        self._troubled = False

    async def take(self, messages: Sequence[Message]) -> None:
        """Keep messages; they are on disk when this returns. Raises MessageRefused for what is no
        message, and BusError where the disk is of no use."""
        for message in messages:
            tael.encode(message)
        await in_thread(self._spool.append, messages)
        self._news.set()

    async def waiting(self) -> int:
        """How many messages wait."""
        return await in_thread(self._spool.count)

    async def run(self) -> None:
        """Send for ever what is there, and what comes."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._news.clear()
            try:
                is_sent = await self._sender.flush() is Sent.CONFIRMED
            except BusError as error:
                is_sent = False
                self._trouble(str(error))
                pause = _REFUSED_SECONDS if isinstance(error, BusRefused) else pause
            if is_sent:
                pause = _FIRST_PAUSE_SECONDS
                self._relief()
                await self._wait()
                continue
            self._trouble("it does not take them now.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                await self._news.wait()
        except TimeoutError:
            pass

    def _trouble(self, why: str) -> None:
        """Tell once of each time that it takes none."""
        if not self._troubled:
            _log.warning("What came in waits for %s: %s", self.name, why)
        self._troubled = True

    def _relief(self) -> None:
        if self._troubled:
            _log.info("%s has taken what came in.", self.name)
        self._troubled = False


class SpoolLook:
    """The spools of forwarders, as the queues that they are; each has one consumer."""

    def __init__(self, forwarders: Sequence[Forwarder]) -> None:
        self._forwarders = forwarders

    async def depths(self, queues: Sequence[str]) -> list[Depth]:
        """Those of these names; raises BusError."""
        return [Depth(f.name, await f.waiting(), 1) for f in self._forwarders if f.name in queues]

    async def close(self) -> None:
        """There is nothing to hang up."""
