"""What lies below a directory URL, looked at in turn, and again where that can help."""

import asyncio
from collections.abc import AsyncIterator

import stamina

from tesp.errors import AccessRefused, SourceChanged, SourceMissing, TransferFailed, UnsupportedUrl
from tesp.staging import Entry
from tesp.staging.resume import GaveUp, backoff
from tesp.staging.storages import Storages
from tesp.staging.turns import Turn
from tesp.staging.urls import escapes, shown

# So many files of one attempt wait for a turn at once: another attempt need not queue behind all.
WAITING_AT_ONCE = 4


class Listing:
    """Directories of one attempt; `crowd` holds those of its transfers that wait for a turn."""

    def __init__(
        self, storages: Storages, turns: asyncio.Semaphore, crowd: asyncio.Semaphore
    ) -> None:
        self._storages, self._turns, self._crowd = storages, turns, crowd

    async def files(self, url: str) -> list[Entry]:
        """The files of a directory; SourceMissing where there are none."""
        entries = await self._entries(url)
        if not entries:
            raise SourceMissing(f"{shown(url)}: nothing there, or an empty directory")
        return entries

    async def files_instead(self, url: str, missing: SourceMissing) -> list[Entry]:
        """The files of what is missing as a file: a type is FILE by default, and what has
        nothing but files below it is a directory. Raises `missing` where it is none."""
        try:
            entries = await self._entries(url)
        except UnsupportedUrl:
            entries = []
        if not entries:
            raise missing from None
        return entries

    async def _entries(self, url: str) -> list[Entry]:
        async with self._crowd, Turn(self._turns):
            storage = self._storages.of(url)
            async for attempt in tries(self._storages):
                with attempt:
                    entries = [entry async for entry in storage.list(url)]
        for entry in entries:
            if escapes(entry.name):
                raise AccessRefused(f"{shown(url)}: it lists {entry.name!r}, outside of itself")
        return entries


def tries(storages: Storages) -> AsyncIterator[stamina.Attempt]:
    """Tries of a whole file or listing, as many as are allowed, where another can help."""
    failures = 0

    def wait(error: Exception) -> float | bool:
        nonlocal failures
        failures += 1
        final = isinstance(error, SourceChanged | GaveUp) or failures >= storages.tries
        return False if final or not isinstance(error, TransferFailed) else backoff(failures)

    return aiter(stamina.retry_context(wait, attempts=None, timeout=None))
