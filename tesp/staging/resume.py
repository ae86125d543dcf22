"""Reading a source to its end, whatever breaks on the way."""

import random
from collections.abc import AsyncGenerator, Callable

import stamina

from tesp.errors import SourceChanged, TransferFailed
from tesp.staging import Stream
from tesp.staging.storages import Storages
from tesp.staging.supply import closing
from tesp.staging.urls import shown

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 10.0


class GaveUp(TransferFailed):
    """All tries are used up: what could be done here has been done."""


def backoff(failures: int) -> float:
    """Seconds to wait after so many failures in a row, with jitter."""
    most = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2.0**failures)
    return random.uniform(most / 2, most)


class Reading:
    """One source, read from the beginning; it goes on where it broke.

    What comes is one version of the file or an error: a source that changed is never spliced,
    and one that has no tag is not gone on with (TransferFailed; begin anew). When the first
    chunk has come, `size` and `tag` are what the peer says of the whole file.
    """

    def __init__(
        self,
        storages: Storages,
        url: str,
        sized: Callable[[int], None] | None = None,
        start: int = 0,
    ) -> None:
        self._storage, self._url, self._tries = storages.of(url), url, storages.tries
        self._sized = sized
        self._offset = self._start = start
        self._failures = 0
        self.size: int | None = None
        self.tag: str | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The whole file, or what of it lies behind `start`."""
        async for attempt in stamina.retry_context(self._next_wait, attempts=None, timeout=None):
            with attempt:
                async for chunk in self._leg():
                    yield chunk

    async def _leg(self) -> AsyncGenerator[bytes, None]:
        """What comes over one connection."""
        async with self._storage.open(self._url, self._offset, self.tag) as stream:
            self._accept(stream)
            async with closing(stream.chunks) as chunks:
                async for chunk in chunks:
                    self._offset += len(chunk)
                    self._failures = 0
                    yield chunk
        if self.size is not None and self._offset != self.size:
            told = f"{self._offset} bytes came instead of {self.size}"
            raise TransferFailed(f"{shown(self._url)}: {told}")

    def _accept(self, stream: Stream) -> None:
        if self._offset == self._start:
            self.size, self.tag = stream.size, stream.tag
            if self._sized and stream.size is not None:
                self._sized(stream.size)
        elif stream.tag != self.tag or stream.size not in (None, self.size):
            raise SourceChanged(f"{shown(self._url)}: the file has changed since it was begun")

    def _next_wait(self, error: Exception) -> float | bool:
        if not isinstance(error, TransferFailed) or isinstance(error, SourceChanged):
            return False
        self._failures += 1
        if self._failures >= self._tries:
            raise GaveUp(f"{error} (after {self._failures} tries without progress)") from error
        if self._offset > self._start and self.tag is None:
            return False
        return backoff(self._failures)
