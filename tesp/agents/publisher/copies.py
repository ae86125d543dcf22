"""Copies of files from one storage to another, in bounded memory, with their digests."""

import hashlib
import time
from collections.abc import AsyncIterator

from tesp.staging.listing import tries
from tesp.staging.storages import Storages
from tesp.staging.transfer import log_moved, read


async def copy(storages: Storages, source: str, to: str, size: int) -> str:
    """Copy a file of this size whole, or not at all; the SHA-256 of what was sent.

    Raises StagingError, also where the source has another size by now.
    """
    digest = hashlib.sha256()

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal digest
        digest = hashlib.sha256()
        async for chunk in read(storages, source):
            digest.update(chunk)
            yield chunk

    storage = storages.of(to)
    started = time.monotonic()
    async for attempt in tries(storages):
        with attempt:
            await storage.put(to, chunks, size)
    log_moved("published", to, size, started)
    return digest.hexdigest()


async def write(storages: Storages, content: bytes, to: str) -> None:
    """Put this there; raises StagingError."""

    async def chunks() -> AsyncIterator[bytes]:
        yield content

    async for attempt in tries(storages):
        with attempt:
            await storages.of(to).put(to, chunks, len(content))
