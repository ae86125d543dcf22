"""Streams from and to the files of a tree: blocking calls in threads, bounded memory."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tesp.errors import SourceChanged
from tesp.staging import Stream, tree
from tesp.threads import in_thread

BLOCK_BYTES = 1 << 20


@contextlib.asynccontextmanager
async def opened(
    root: Path, parts: Sequence[str], name: str, start: int = 0, tag: str | None = None
) -> AsyncIterator[Stream]:
    """A regular file of the tree as a stream from `start`; `name` is for messages."""
    with contextlib.ExitStack() as held:
        with tree.translated(name):
            descriptor = await in_thread(_open, held, root, parts)
        size, now = tree.version(descriptor)
        if tag not in (None, now) or start > size:
            raise SourceChanged(f"{name}: the file has changed since it was begun")
        yield Stream(_blocks(descriptor, start, now, name), size, now)


def _open(held: contextlib.ExitStack, root: Path, parts: Sequence[str]) -> int:
    descriptor = tree.open_regular(root, parts)
    held.callback(os.close, descriptor)
    return descriptor


async def _blocks(descriptor: int, start: int, tag: str, name: str) -> AsyncIterator[bytes]:
    while True:
        with tree.translated(name):
            block = await in_thread(os.pread, descriptor, BLOCK_BYTES, start)
        if not block:
            break
        start += len(block)
        yield block
    if tree.version(descriptor)[1] != tag:
        raise SourceChanged(f"{name}: the file changed while it was read")


async def written(root: Path, parts: Sequence[str], chunks: AsyncIterator[bytes], name: str) -> int:
    """Write a file of the tree whole or not at all; gives its size."""
    draft = tree.Draft(root, parts)
    with tree.translated(name):
        try:
            await in_thread(draft.open)
            size = await _filled(draft, chunks)
            await in_thread(draft.keep)
        finally:
            await in_thread(draft.close)
    return size


async def _filled(draft: tree.Draft, chunks: AsyncIterator[bytes]) -> int:
    """Copy the chunks; one block is written while the next one comes in."""
    size = gathered = 0
    block: list[bytes] = []
    writing: asyncio.Task[None] | None = None
    try:
        async for chunk in chunks:
            block.append(chunk)
            gathered += len(chunk)
            if gathered >= BLOCK_BYTES:
                if writing:
                    await writing
                writing = asyncio.create_task(in_thread(draft.write, block))
                size, gathered, block = size + gathered, 0, []
    finally:
        if writing:
            await asyncio.wait([writing])
    if writing:
        await writing
    await in_thread(draft.write, block)
    return size + gathered
