"""The transfers of one attempt: its inputs in, its outputs out."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, TypeVar

import stamina

from tesp.errors import (
    AccessRefused,
    SourceChanged,
    SourceMissing,
    StagingError,
    TransferFailed,
    UnsupportedUrl,
)
from tesp.staging import Download, Downloaded, Entry, Upload, Uploaded, Workspace
from tesp.staging.resume import GaveUp, Reading, backoff
from tesp.staging.room import Room
from tesp.staging.storages import Storages
from tesp.staging.supply import closing
from tesp.staging.turns import Turn
from tesp.staging.urls import escapes, shown

logger = logging.getLogger(__name__)

# So many files of one attempt wait for a turn at once: another attempt need not queue behind all.
_WAITING_AT_ONCE = 4

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
        with _naming(download.field):
            room.take(len((download.content or "").encode()))
    bringing = _Bringing(storages, workspace, turns, room)
    return await _all([bringing.bring(download) for download in downloads])


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
    crowd = asyncio.Semaphore(_WAITING_AT_ONCE)

    async def send(upload: Upload) -> Uploaded | StagingError:
        try:
            async with crowd, Turn(turns) as turn:
                with _naming(upload.field):
                    uploaded = await _send(storages, upload, workspace, turn)
        except StagingError as error:
            return error
        done(uploaded)
        return uploaded

    return _or_first_error(await _all([send(upload) for upload in uploads]))


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
        self._turns, self._crowd = turns, asyncio.Semaphore(_WAITING_AT_ONCE)

    async def bring(self, download: Download) -> Downloaded:
        """One input; errors name its field."""
        with _naming(download.field):
            return await self._bring(download)

    async def _bring(self, download: Download) -> Downloaded:
        """Inline, a file, or all files of a directory."""
        if download.content is not None:
            content = download.content.encode()
            size = await self._workspace.write(download.file, _inline(content))
            return Downloaded("FILE", 1, size)
        url = download.url or ""
        if download.type == "DIRECTORY":
            return await self._directory(download, url, await self._entries(url))
        try:
            return Downloaded("FILE", 1, await self._file(url, download.file))
        except SourceMissing as missing:
            # A type is FILE by default: what has nothing but files below it is a directory.
            if entries := await self._entries_if_any(url):
                return await self._directory(download, url, entries)
            raise missing from None

    async def _directory(
        self, download: Download, url: str, entries: Sequence[Entry]
    ) -> Downloaded:
        if not entries:
            raise SourceMissing(f"{shown(url)}: nothing there, or an empty directory")
        for entry in entries:
            if escapes(entry.name):
                raise AccessRefused(f"{shown(url)}: it lists {entry.name!r}, outside of itself")
        self._room.take(sum(entry.size or 0 for entry in entries))
        sizes = await _all(
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
            async for attempt in _tries(self._storages):
                with attempt:
                    reading = Reading(self._storages, url, sized)
                    async with aclosing(reading.chunks()) as chunks:
                        size = await self._workspace.write(file, turn.shared(chunks))
            _log("received", url, size, started)
        return size

    async def _entries(self, url: str) -> list[Entry]:
        async with self._crowd, Turn(self._turns):
            storage = self._storages.of(url)
            async for attempt in _tries(self._storages):
                with attempt:
                    entries = [entry async for entry in storage.list(url)]
        return entries

    async def _entries_if_any(self, url: str) -> list[Entry]:
        try:
            return await self._entries(url)
        except UnsupportedUrl:
            return []


@contextmanager
def _naming(field: str) -> Iterator[None]:
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
    async for attempt in _tries(storages):
        with attempt:
            await storage.put(upload.url, chunks, upload.size)
    _log("sent", upload.url, upload.size, started)
    return Uploaded(upload.url, upload.path, upload.size)


def _tries(storages: Storages) -> AsyncIterator[stamina.Attempt]:
    """Tries of a whole file, as many as the settings allow, where another can help."""
    failures = 0

    def wait(error: Exception) -> float | bool:
        nonlocal failures
        failures += 1
        final = isinstance(error, SourceChanged | GaveUp) or failures >= storages.tries
        return False if final or not isinstance(error, TransferFailed) else backoff(failures)

    return aiter(stamina.retry_context(wait, attempts=None, timeout=None))


async def _inline(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _all(work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order; the first error ends the rest."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in work]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _log(what: str, url: str, size: int, started: float) -> None:
    seconds = time.monotonic() - started
    logger.info("%s %s: %d bytes in %.3f s", what, shown(url), size, seconds)
