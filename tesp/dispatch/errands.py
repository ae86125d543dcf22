"""What the job's side has to fetch: every file of every input, with the URL that gives it."""

import asyncio
from collections.abc import Sequence

from tesp.errors import SourceMissing
from tesp.runner.plan import Fetch
from tesp.staging import Download, Entry, FileType
from tesp.staging.keys import Keys
from tesp.staging.listing import WAITING_AT_ONCE, Listing, tries
from tesp.staging.storages import Storages
from tesp.staging.transfer import all_of, naming
from tesp.staging.turns import Turn


async def fetches_of(
    storages: Storages,
    downloads: Sequence[Download],
    keys: Keys,
    task_id: str,
    number: int,
    turns: asyncio.Semaphore | None = None,
) -> tuple[list[Fetch], dict[str, FileType]]:
    """The files to fetch, and the type that each input turned out to have, by its field.

    Each source is looked at, so that what is missing or refused is told before the job starts.
    `turns` bounds the looks at once over all tasks, where it is given.
    """
    turns = turns or asyncio.Semaphore(WAITING_AT_ONCE)
    looking = _Looking(storages, turns)
    found = await all_of([looking.look(download) for download in downloads])
    fetches: list[Fetch] = []
    types: dict[str, FileType] = {}
    for download, entries in zip(downloads, found, strict=True):
        types[download.field] = "DIRECTORY" if entries else "FILE"
        index = int(download.field.removeprefix("inputs[").removesuffix("]"))
        if not entries:
            fetches.append(Fetch(download.file, keys.input_url(task_id, number, index)))
        for entry in entries:
            url = keys.input_url(task_id, number, index, entry.name)
            fetches.append(Fetch(f"{download.file}/{entry.name}", url))
    return fetches, types


class _Looking:
    """What the inputs of one attempt are: nothing is moved."""

    def __init__(self, storages: Storages, turns: asyncio.Semaphore) -> None:
        self._storages, self._turns = storages, turns
        self._crowd = asyncio.Semaphore(WAITING_AT_ONCE)
        self._listing = Listing(storages, turns, self._crowd)

    async def look(self, download: Download) -> Sequence[Entry]:
        """The files of an input that is a directory; none of one that is a file."""
        if download.content is not None:
            return ()
        url = download.url or ""
        with naming(download.field):
            if download.type == "DIRECTORY":
                return await self._listing.files(url)
            try:
                await self._open(url)
            except SourceMissing as missing:
                return await self._listing.files_instead(url, missing)
        return ()

    async def _open(self, url: str) -> None:
        """See that there is a file that can be read."""
        async with self._crowd, Turn(self._turns):
            async for attempt in tries(self._storages):
                with attempt:
                    async with self._storages.of(url).open(url):
                        pass
