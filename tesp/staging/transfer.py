"""The transfers of one attempt: its inputs in, its outputs out."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

from tesp.errors import SourceMissing, StagingError
from tesp.staging import Download, Downloaded, Entry, Upload, Uploaded, Workspace
from tesp.staging.listing import WAITING_AT_ONCE, Listing, tries
from tesp.staging.resume import Reading
from tesp.staging.room import Room
from tesp.staging.storages import Storages
from tesp.staging.supply import closing
from tesp.staging.turns import Turn
from tesp.staging.urls import shown

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def read(storages: Storages, url: str) -> AsyncIterator[bytes]:
    """The whole of one version of a file, gone on with where it breaks."""
    async with aclosing(Reading(storages, url).chunks()) as chunks:
        async for chunk in chunks:
            yield chunk


async def stage_in(
    storages: Storages,
    downloads: Sequence[Download],
    workspace: Workspace,
    turns: asyncio.Semaphore,
) -> list[Downloaded]:
    """Bring all inputs into the workspace, or raise the first error."""
    room = await Room.of(workspace)
    for download in downloads:
        with naming(download.field):
            room.take(len((download.content or "").encode()))
    bringing = _Bringing(storages, workspace, turns, room)
    return await all_of([bringing.bring(download) for download in downloads])


async def stage_out(
    storages: Storages,
    uploads: Sequence[Upload],
    workspace: Workspace,
    turns: asyncio.Semaphore,
    done: Callable[[Uploaded], None] = lambda _: None,
) -> list[Uploaded]:
    """Put all files where they belong; one that fails keeps no other back.

    `done` hears of each as it arrives. The first error is raised when all have been tried.
    """
    crowd = asyncio.Semaphore(WAITING_AT_ONCE)

    async def send(upload: Upload) -> Uploaded | StagingError:
        try:
            async with crowd, Turn(turns) as turn:
                with naming(upload.field):
                    uploaded = await _send(storages, upload, workspace, turn)
        except StagingError as error:
            return error
        done(uploaded)
        return uploaded

    return _or_first_error(await all_of([send(upload) for upload in uploads]))


def _or_first_error(results: Sequence[Uploaded | StagingError]) -> list[Uploaded]:
    for result in results:
        if isinstance(result, StagingError):
            raise result
    return [result for result in results if isinstance(result, Uploaded)]


class _Bringing:
    """The inputs of one attempt on their way in."""

    def __init__(
        self, storages: Storages, workspace: Workspace, turns: asyncio.Semaphore, room: Room
    ) -> None:
        self._storages, self._workspace, self._room = storages, workspace, room
        self._turns, self._crowd = turns, asyncio.Semaphore(WAITING_AT_ONCE)
        self._listing = Listing(storages, turns, self._crowd)

    async def bring(self, download: Download) -> Downloaded:
        """One input; errors name its field."""
        with naming(download.field):
            return await self._bring(download)

    async def _bring(self, download: Download) -> Downloaded:
        """Inline, a file, or all files of a directory."""
        if download.content is not None:
            content = download.content.encode()
            size = await self._workspace.write(download.file, _inline(content))
            return Downloaded("FILE", 1, size)
        url = download.url or ""
        if download.type == "DIRECTORY":
            return await self._directory(download, await self._listing.files(url))
        try:
            return Downloaded("FILE", 1, await self._file(url, download.file))
        except SourceMissing as missing:
            return await self._directory(download, await self._listing.files_instead(url, missing))

    async def _directory(self, download: Download, entries: Sequence[Entry]) -> Downloaded:
        self._room.take(sum(entry.size or 0 for entry in entries))
        sizes = await all_of(
            [
                self._file(entry.url, f"{download.file}/{entry.name}", entry.size)
                for entry in entries
            ]
        )
        return Downloaded("DIRECTORY", len(entries), sum(sizes))

    async def _file(self, url: str, file: str, known: int | None = None) -> int:
        counted = known is not None

        def sized(size: int) -> None:
            nonlocal counted
            if not counted:
                self._room.take(size)
            counted = True

        async with self._crowd, Turn(self._turns) as turn:
            started = time.monotonic()
            async for attempt in tries(self._storages):
                with attempt:
                    reading = Reading(self._storages, url, sized)
                    async with aclosing(reading.chunks()) as chunks:
                        size = await self._workspace.write(file, turn.shared(chunks))
            log_moved("received", url, size, started)
        return size


@contextmanager
def naming(field: str) -> Iterator[None]:
    """Say in each error which input or output it is about."""
    try:
        yield
    except StagingError as error:
        raise type(error)(f"{field}: {error}") from error


async def _send(storages: Storages, upload: Upload, workspace: Workspace, turn: Turn) -> Uploaded:
    async def chunks() -> AsyncIterator[bytes]:
        async with workspace.open(upload.file) as stream, closing(stream.chunks) as source:
            async for chunk in turn.shared(source):
                yield chunk

    storage = storages.of(upload.url)
    started = time.monotonic()
    async for attempt in tries(storages):
        with attempt:
            await storage.put(upload.url, chunks, upload.size)
    log_moved("sent", upload.url, upload.size, started)
    return Uploaded(upload.url, upload.path, upload.size)


async def _inline(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def all_of(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first error ends the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def log_moved(what: str, url: str, size: int, started: float) -> None:
    """One line for a file that has moved; `started` is by the monotonic clock."""
    seconds = time.monotonic() - started
    logger.info("%s %s: %d bytes in %.3f s", what, shown(url), size, seconds)
