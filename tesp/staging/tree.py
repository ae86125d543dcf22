"""A tree of files below one directory, walked component by component; links are never followed.

Blocking calls alone: callers put them into threads.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from tesp.errors import AccessRefused, DiskFull, SourceMissing, StagingError, TransferFailed
from tesp.staging.urls import escapes

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO would block the open for ever without O_NONBLOCK; regular files do not care.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BUFFERS_AT_ONCE = 512
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def parts_of(file: str) -> list[str]:
    """The components of a relative path; refuses absolute paths, `..` and empty parts."""
    if escapes(file):
        raise AccessRefused(f"{file!r}: not a plain relative path")
    return file.split("/")


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """OSErrors of the block as staging errors about `name`."""
    try:
        yield
    except OSError as error:
        raise _translation(error, name) from error


def _translation(error: OSError, name: str) -> StagingError:
    if error.errno in _NO_ROOM:
        return DiskFull(f"{name}: no room left on the disk")
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
        return SourceMissing(f"{name}: no such file")
    if error.errno == errno.ELOOP:
        return AccessRefused(f"{name}: a link is in the way; links are not followed")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AccessRefused(f"{name}: {os.strerror(error.errno)}")
    if error.errno in (errno.ENAMETOOLONG, errno.EEXIST, errno.EINVAL):
        return StagingError(f"{name}: {os.strerror(error.errno)}")
    return TransferFailed(f"{name}: {error.strerror or error}")


@contextlib.contextmanager
def directory(root: Path, parts: Sequence[str], make: int | None = None) -> Iterator[int]:
    """A descriptor of the directory below `root`; with `make`, what is missing gets this mode."""
    held = os.open(root, _DIRECTORY & ~os.O_NOFOLLOW)
    try:
        for part in parts:
            deeper = _step(held, part, make)
            os.close(held)
            held = deeper
        yield held
    finally:
        os.close(held)


def _step(held: int, part: str, make: int | None) -> int:
    try:
        return _enter(held, part)
    except FileNotFoundError:
        if make is None:
            raise
    # Another transfer may make it at the same moment.
    with contextlib.suppress(FileExistsError):
        os.mkdir(part, dir_fd=held)
        os.chmod(part, make, dir_fd=held)
    return _enter(held, part)


def _enter(held: int, part: str) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=held)
    except NotADirectoryError:
        # Linux says ENOTDIR of a link as well: tell the two apart for the message.
        if stat.S_ISLNK(os.stat(part, dir_fd=held, follow_symlinks=False).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


def open_regular(root: Path, parts: Sequence[str]) -> int:
    """A descriptor for reading a regular file; anything else is refused."""
    with directory(root, parts[:-1]) as held:
        descriptor = os.open(parts[-1], _READ, dir_fd=held)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise AccessRefused(f"{'/'.join(parts)}: not a regular file")


def version(descriptor: int) -> tuple[int, str]:
    """Size and tag of an open file."""
    now = os.fstat(descriptor)
    return now.st_size, f"{now.st_ino}-{now.st_mtime_ns}-{now.st_size}"


class Draft:
    """A file under a temporary name beside its place: kept whole, or thrown away."""

    def __init__(self, root: Path, parts: Sequence[str]) -> None:
        self._root, self._parts = root, parts
        self._temporary = f".{secrets.token_hex(8)}.part"
        self._held = self._descriptor = -1

    def open(self) -> None:
        """Make the parents and the temporary file."""
        with directory(self._root, self._parts[:-1], make=0o755) as held:
            self._held = os.dup(held)
        self._descriptor = os.open(self._temporary, _WRITE, 0o600, dir_fd=self._held)

    def write(self, buffers: list[bytes]) -> None:
        """Append these buffers, all of them."""
        rest = [memoryview(b) for b in buffers if b]
        while rest:
            written = os.writev(self._descriptor, rest[:_BUFFERS_AT_ONCE])
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def keep(self) -> None:
        """Put the file in its place, readable by everybody."""
        os.fchmod(self._descriptor, 0o644)
        os.rename(self._temporary, self._parts[-1], src_dir_fd=self._held, dst_dir_fd=self._held)

    def close(self) -> None:
        """Throw away what was not kept."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._held)
        if self._held >= 0:
            os.close(self._held)
