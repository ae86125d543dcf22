"""Opening files without following a link: the ground of all that looks at what a container left."""

import os
import stat
from typing import BinaryIO, NamedTuple, Optional, Tuple

from tesp.runner.process import encode

LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """That file is not for us to open; the message says why."""


class Uncovered(Refused):
    """No mount covers that path of the container."""


class Spot(NamedTuple):
    """A resolved path: an O_PATH descriptor (None for a directory above mounts), the container's
    path free of links, and where it is on the node."""

    fd: Optional[int]
    path: bytes
    file: bytes

    def mode(self) -> int:
        """What kind of file it is."""
        return stat.S_IFDIR if self.fd is None else os.fstat(self.fd).st_mode


def open_regular(workspace: str, file: str) -> BinaryIO:
    """Open a regular file for reading, following no link below the workspace.

    `file` is Found.file: relative to the workspace, or absolute and then free of links. Raises
    FileNotFoundError, or Refused where there is a link, a `..` or no regular file.
    """
    fd = _open_plain(b"/" if file.startswith("/") else encode(workspace), file)
    try:
        return open_spot(fd, file)
    finally:
        os.close(fd)


def open_source(source: bytes) -> int:
    """An O_PATH descriptor of a mount's source. One outside the workspace was free of links
    when the task was planned; others may have put some in it since."""
    if source.startswith(b"/") and source.strip(b"/"):
        return _open_plain(b"/", source.decode("utf-8", "surrogateescape"))
    return os.open(source, os.O_PATH | os.O_CLOEXEC)


def _open_plain(base: bytes, path: str) -> int:
    """An O_PATH descriptor of what is at a path below `base` that leads through no link."""
    parts = [p for p in encode(path).split(b"/") if p]
    if b".." in parts or b"." in parts or not parts:
        raise Refused("%r is not a plain path" % path)
    fd = os.open(base, os.O_PATH | os.O_CLOEXEC)
    for part in parts:
        try:
            below = _open_below(fd, part, path)
        finally:
            os.close(fd)
        fd = below
    return fd


def _open_below(held: int, part: bytes, path: str) -> int:
    """Open one component, which must be no link."""
    try:
        fd = os.open(part, LOOK, dir_fd=held)
    except NotADirectoryError:
        raise FileNotFoundError(path) from None
    if stat.S_ISLNK(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused("%r leads through a symbolic link" % path)
    return fd


def open_spot(fd: int, name: str) -> BinaryIO:
    """Open what an O_PATH descriptor stands for, if it is a regular file."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        raise Refused("%r is not a regular file" % name)
    return os.fdopen(os.open("/proc/self/fd/%d" % fd, READ), "rb", 0)


def parts_of(path: bytes) -> Tuple[bytes, ...]:
    """The components of a path; `..` stays."""
    return tuple(p for p in path.split(b"/") if p not in (b"", b"."))


def shown(path: bytes) -> str:
    """A path as a message shows it, whatever its bytes."""
    return path.decode("utf-8", "backslashreplace")
