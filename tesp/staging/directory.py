"""A workspace on a local directory."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tesp.staging import Stream, disk, tree


class DirectoryWorkspace:
    """The files of one attempt below `root`; links are never followed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def write(self, file: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file by a temporary name, making its parents; the bytes written."""
        return await disk.written(self.root, tree.parts_of(file), chunks, file)

    def open(self, file: str) -> AbstractAsyncContextManager[Stream]:
        """Open a regular file for reading."""
        return disk.opened(self.root, tree.parts_of(file), file)

    async def make_directory(self, file: str) -> None:
        """Make a directory, with its parents, open to whatever user the container has."""
        parts = tree.parts_of(file)
        with tree.translated(file):
            await asyncio.to_thread(self._make, parts)

    def _make(self, parts: list[str]) -> None:
        with tree.directory(self.root, parts, make=0o777) as held:
            os.fchmod(held, 0o777)

    async def free_bytes(self) -> int | None:
        """Room left on the disk of the workspace."""
        with tree.translated(str(self.root)):
            disk_now = await asyncio.to_thread(os.statvfs, self.root)
        return disk_now.f_bavail * disk_now.f_frsize
