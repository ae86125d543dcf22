"""Files of shared roots, where they are: looked at, made and linked to, never copied."""

import os
import secrets
import stat
from pathlib import Path

from tesp.errors import AccessRefused, SourceMissing, StagingError
from tesp.staging import FileType, Place, tree
from tesp.staging.file import FileStorage
from tesp.threads import in_thread


class SharedFiles:
    """What jobs see of the shared roots. Every link is held to the roots; errors are
    those of staging."""

    def __init__(self, files: FileStorage) -> None:
        self._files = files

    def place(self, url: str) -> Place | None:
        """Where a URL lies, if that is in a shared root. Pure."""
        return self._files.place(url)

    async def real(self, path: str) -> str:
        """The same place by a path that is free of links."""
        _, real = await in_thread(self._files.resolve, path, writing=False)
        return str(real)

    async def type(self, path: str) -> FileType:
        """What is there."""
        return await in_thread(self._type, path)

    def _type(self, path: str) -> FileType:
        _, real = self._files.resolve(path, writing=False)
        with tree.translated(path):
            kind = real.stat().st_mode
        if stat.S_ISDIR(kind):
            return "DIRECTORY"
        if not stat.S_ISREG(kind):
            raise SourceMissing(f"{path}: neither a file nor a directory")
        return "FILE"

    async def make_directory(self, path: str) -> None:
        """Make a directory where it is missing, open to whatever user the container has."""
        await in_thread(self._make, path)

    def _make(self, path: str) -> None:
        root, real = self._files.resolve(path, writing=True)
        with tree.translated(path), tree.directory(root, real.relative_to(root).parts, 0o777):
            pass

    async def link(self, path: str, target: str) -> None:
        """Make `path` a link to `target`, in place of another link, never of a file."""
        await in_thread(self._link, Path(path), target)

    def _link(self, path: Path, target: str) -> None:
        root, real = self._files.resolve(str(path.parent), writing=True)
        parts = real.relative_to(root).parts
        with tree.translated(str(path)), tree.directory(root, parts, 0o777) as held:
            if _is_file(held, path.name):
                raise StagingError(f"{path}: a file is there already, where a link must go")
            temporary = f".{secrets.token_hex(8)}.link"
            os.symlink(target, temporary, dir_fd=held)
            os.rename(temporary, path.name, src_dir_fd=held, dst_dir_fd=held)

    async def is_same(self, url: str, file: str) -> bool:
        """Whether a URL is of this very file, so that nothing has to be moved."""
        if self._files.place(url) is None:
            return False
        try:
            _, real = await in_thread(self._files.resolve, url, writing=True)
        except AccessRefused:
            return False  # a link that leads elsewhere out here than it did in the container
        return str(real) == os.path.realpath(file)


def _is_file(held: int, name: str) -> bool:
    """Whether something is there that is no link."""
    try:
        return not stat.S_ISLNK(os.stat(name, dir_fd=held, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
