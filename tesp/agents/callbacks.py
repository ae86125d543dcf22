"""Callbacks: the URLs that tasks name hear of their events, a queue for each host.

One walker goes through the log; a lane for each host that is spoken to follows it, reads its own
events, and ends when it has caught up. The cursor is where the slowest of them is: a crash loses
nothing, and repeats, with the same message ids, what faster ones had sent since.
"""

import asyncio
import ipaddress
import logging
import time
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from tesp.agents import cursor_of
from tesp.agents.bus_sink import Projection
from tesp.agents.posting import post
from tesp.agents.public_hosts import PublicResolver, check
from tesp.agents.tenure import Tenure
from tesp.errors import BusRefused, BusUnavailable, StoreError
from tesp.events import Event
from tesp.settings import HookSettings
from tesp.store.following import LogNews
from tesp.store.log import CursorStore
from tesp.tes import callbacks

_log = logging.getLogger(__name__)

NAME = cursor_of("callbacks")
_BATCH = 200
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 60.0
_NOTE_SECONDS = 0.5
_LOOK_SECONDS = 60.0
_TOUCHES = 7200  # notes without news before the cursor is touched


@dataclass(eq=False)
class _Lane:
    """A host that is spoken to, and how far in the log that has come."""

    host: str
    position: int


class Callbacks:
    """Calls back while it holds the lease; of all processes one does."""

    def __init__(
        self,
        settings: HookSettings,
        projection: Projection,
        store: CursorStore,
        news: LogNews,
        tenure: Tenure,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """`resolver` None: the system's."""
        assert settings.callback_secret is not None
        self._settings = settings
        self._secret = settings.callback_secret.get_secret_value().encode()
        self._projection = projection
        self._store = store
        self._news = news
        self._tenure = tenure
        self._resolver = resolver
        self._lanes: dict[str, _Lane] = {}
        self._position = 0

    async def run(self) -> None:
        """Call back for ever, whenever the lease is ours."""
        await self._tenure.work(self._call_for_ever)

    async def _call_for_ever(self) -> None:
        resolver = self._resolver or aiohttp.ThreadedResolver()
        connector = aiohttp.TCPConnector(
            resolver=PublicResolver(resolver, self._settings.callback_hosts)
        )
        timeout = aiohttp.ClientTimeout(total=self._settings.callback_timeout_seconds)
        self._lanes.clear()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            self._position = await self._begun()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._note_for_ever())
                group.create_task(self._walk(session, group))

    async def _begun(self) -> int:
        while True:
            try:
                return await self._store.begin_cursor(NAME)
            except StoreError as error:
                _log.warning("%s: events wait in the log: %s", NAME, error)
                await asyncio.sleep(1.0)

    async def _walk(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        """Find whom to call, and have a lane for each."""
        while True:
            try:
                entries = await self._store.read(self._position, _BATCH)
            except StoreError as error:
                _log.warning("%s: events wait in the log: %s", NAME, error)
                await asyncio.sleep(1.0)
                continue
            if not entries:
                await self._news.beyond(self._position, _LOOK_SECONDS)
                continue
            self._position = entries[-1].sequence
            for entry in entries:
                host = _host(entry.event)
                if host and host not in self._lanes:
                    lane = self._lanes[host] = _Lane(host, entry.sequence - 1)
                    group.create_task(self._serve(lane, session))

    async def _note_for_ever(self) -> None:
        """Keep the cursor where the slowest is."""
        noted, still = -1, 0
        while True:
            slowest = min([self._position, *(lane.position for lane in self._lanes.values())])
            still = 0 if slowest != noted else still + 1
            if still in (0, _TOUCHES):
                with suppress(StoreError):
                    await self._store.move_cursor(NAME, slowest)
                    noted, still = slowest, 0
            await asyncio.sleep(_NOTE_SECONDS)

    async def _serve(self, lane: _Lane, session: aiohttp.ClientSession) -> None:
        """Bring a host its events in order, until there are no more for now."""
        while lane.position < self._position:
            most = min(_BATCH, self._position - lane.position)
            try:
                entries = await self._store.read(lane.position, most)
            except StoreError as error:
                _log.warning("%s: events wait in the log: %s", NAME, error)
                await asyncio.sleep(1.0)
                continue
            for entry in entries:
                if _host(entry.event) == lane.host:
                    await self._call(entry.event, session)
                lane.position = entry.sequence
        # Nothing is waited for since the last look: what comes now makes another lane.
        del self._lanes[lane.host]

    async def _call(self, event: Event, session: aiohttp.ClientSession) -> None:
        """Post one event until it is taken, refused, or too old."""
        url, pause = event.callback or "", _FIRST_PAUSE_SECONDS
        last: Exception = BusUnavailable("it could not be tried in time")
        while time.time() < event.time + self._settings.callback_seconds:
            try:
                self._check(url)
                return await post(session, url, self._projection(event), self._secret)
            except BusRefused as error:
                return _log.warning("The callback of task %s is left out: %s", event.task, error)
            except BusUnavailable as error:
                last = error
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
        _log.warning("The callback of task %s is given up: %s", event.task, last)

    def _check(self, url: str) -> None:
        """Raise BusRefused where the URL is no longer allowed, or is a private address itself."""
        allowed = self._settings.callback_hosts
        if sentence := callbacks.wrong(url, allowed):
            raise BusRefused(sentence)
        host = callbacks.host_of(url) or ""
        with suppress(ValueError):
            check(host, str(ipaddress.ip_address(host)), allowed)


def _host(event: Event) -> str | None:
    """Whose queue an event is in: that of the host and port of its callback."""
    if event.callback is None:
        return None
    scheme, _, rest = event.callback.partition("://")
    return f"{scheme}://{rest.replace('?', '/', 1).partition('/')[0].lower()}"
