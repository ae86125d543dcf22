"""Files that a container left, opened without following a link out of what it was given.

A path of the container is resolved component by component, each one opened below the last
without following links; a link is read and resolved as the container would see it.
"""

import os
import stat
from typing import BinaryIO, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

from tesp.runner.plan import Mount
from tesp.runner.process import encode

MOST_LINKS = 40
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """That file is not for us to open; the message says why."""


class Uncovered(Refused):
    """No mount covers that path of the container."""


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
        fd = os.open(part, _LOOK, dir_fd=held)
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
    return os.fdopen(os.open("/proc/self/fd/%d" % fd, _READ), "rb", 0)


class Spot(NamedTuple):
    """A resolved path: an O_PATH descriptor (None for a directory above mounts), the container's
    path free of links, and where it is on the node."""

    fd: Optional[int]
    path: bytes
    file: bytes

    def mode(self) -> int:
        """What kind of file it is."""
        return stat.S_IFDIR if self.fd is None else os.fstat(self.fd).st_mode


class Tree:
    """The container's files, as far as its mounts show them. Close it after use."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._sources: Dict[Tuple[bytes, ...], bytes] = {}
        self._above: Set[Tuple[bytes, ...]] = {()}
        self.writable: Set[Tuple[bytes, ...]] = set()
        for mount in mounts:
            target = parts_of(encode(mount.target))
            self._sources[target] = encode(mount.source)
            self._above.update(target[:i] for i in range(len(target)))
            if mount.writable:
                self.writable.add(target)

    def resolve(self, path: bytes) -> Spot:
        """Find a path; the caller closes the descriptor.

        Raises FileNotFoundError, Uncovered, or Refused where a link leads out or round.
        """
        walk = _Walk(self)
        try:
            return walk.to(path)
        finally:
            walk.close()

    def names(self, spot: Spot) -> List[bytes]:
        """What is in a directory, in order."""
        here = parts_of(spot.path)
        found = {t[len(here)] for t in self._sources if t[: len(here)] == here and t != here}
        if spot.fd is not None:
            fd = os.open("/proc/self/fd/%d" % spot.fd, _READ | os.O_DIRECTORY)
            try:
                found.update(os.fsencode(n) for n in os.listdir(fd))
            finally:
                os.close(fd)
        return sorted(found)

    def source(self, target: Tuple[bytes, ...]) -> Optional[bytes]:
        """What is mounted exactly there."""
        return self._sources.get(target)

    def is_above(self, path: Tuple[bytes, ...]) -> bool:
        """Whether a mount lies below that path."""
        return path in self._above

    def open(self, path: str) -> BinaryIO:
        """Open a regular file for reading."""
        spot = self.resolve(encode(path))
        if spot.fd is None:
            raise Refused("%s is a directory" % path)
        try:
            return open_spot(spot.fd, path)
        finally:
            os.close(spot.fd)

    def create(self, path: str) -> BinaryIO:
        """Open a file for writing, with its parents; a link in it never leads out."""
        spot = self._parent(encode(path))
        try:
            name = parts_of(encode(path))[-1]
            file = self._existing(path)
            if file is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(name, flags, 0o644, dir_fd=spot.fd)
            return os.fdopen(file, "wb", 0)
        finally:
            if spot.fd is not None:
                os.close(spot.fd)

    def _existing(self, path: str) -> Optional[int]:
        try:
            spot = self.resolve(encode(path))
        except FileNotFoundError:
            return None
        try:
            if spot.fd is None or not stat.S_ISREG(spot.mode()):
                raise Refused("%s is not a regular file" % path)
            self._check_writable(spot.path, path)
            return os.open(
                "/proc/self/fd/%d" % spot.fd,
                os.O_WRONLY | os.O_TRUNC | os.O_NONBLOCK | os.O_CLOEXEC,
            )
        finally:
            if spot.fd is not None:
                os.close(spot.fd)

    def _parent(self, path: bytes) -> Spot:
        """The directory of a file, made where it is missing."""
        spot = self.resolve(b"/")
        for part in parts_of(path)[:-1]:
            below = spot.path.rstrip(b"/") + b"/" + part
            try:
                next_spot = self.resolve(below)
            except FileNotFoundError:
                if spot.fd is None:
                    raise Uncovered("no mount covers %s" % shown(path)) from None
                os.mkdir(part, dir_fd=spot.fd)
                os.chmod(part, 0o777, dir_fd=spot.fd)  # whatever user the container has
                next_spot = self.resolve(below)
            if spot.fd is not None:
                os.close(spot.fd)
            spot = next_spot
        self._check_writable(spot.path, shown(path))
        return spot

    def _check_writable(self, place: bytes, path: str) -> None:
        parts = parts_of(place)
        covering = [parts[:i] for i in range(len(parts), -1, -1) if parts[:i] in self._sources]
        if not covering:
            raise Uncovered("no mount covers %s" % path)
        if covering[0] not in self.writable:
            raise Refused("%s is in a read-only mount" % path)


class _Walk:
    """One way through the tree: the components so far, and a descriptor for each."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._steps: List[Spot] = []
        self._links = 0

    def to(self, path: bytes) -> Spot:
        """Go there; the last descriptor becomes the caller's."""
        todo = list(reversed(parts_of(path)))
        if self._here().fd is None:
            self._enter_root()
        while todo:
            part = todo.pop()
            if part == b"..":
                self._up()
                continue
            link = self._down(part, path)
            if link is not None:
                self._links += 1
                if self._links > MOST_LINKS:
                    raise Refused("%s: its symbolic links lead in a circle" % shown(path))
                if link.startswith(b"/"):
                    self.close()
                todo.extend(reversed(parts_of(link)))
        last = self._here()
        return last._replace(fd=None if last.fd is None else os.dup(last.fd))

    def close(self) -> None:
        """Go back to the root."""
        while self._steps:
            self._up()

    def _enter_root(self) -> None:
        source = self._tree.source(())
        if source is not None:
            self._steps.append(Spot(open_source(source), b"/", source))

    def _here(self) -> Spot:
        return self._steps[-1] if self._steps else Spot(None, b"/", b"")

    def _up(self) -> None:
        if self._steps:
            fd = self._steps.pop().fd
            if fd is not None:
                os.close(fd)

    def _down(self, part: bytes, asked: bytes) -> Optional[bytes]:
        """Take one step; where it is a link, stay and tell where that leads."""
        here = self._here()
        path = here.path.rstrip(b"/") + b"/" + part
        source = self._tree.source(parts_of(path))
        if source is not None:
            self._steps.append(Spot(open_source(source), path, source))
        elif here.fd is None:
            if not self._tree.is_above(parts_of(path)):
                raise self._outside(asked)
            self._steps.append(Spot(None, path, b""))
        else:
            return self._open_below(here, part, path)
        return None

    def _open_below(self, here: Spot, part: bytes, path: bytes) -> Optional[bytes]:
        try:
            fd = os.open(part, _LOOK, dir_fd=here.fd)
        except NotADirectoryError:
            raise FileNotFoundError(shown(path)) from None
        except FileNotFoundError:
            if not self._tree.is_above(parts_of(path)):
                raise
            self._steps.append(Spot(None, path, b""))
            return None
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            try:
                return os.readlink(b"", dir_fd=fd)
            finally:
                os.close(fd)
        self._steps.append(Spot(fd, path, here.file + b"/" + part))
        return None

    def _outside(self, asked: bytes) -> Refused:
        if self._links:
            return Refused(
                "%s leads out of the task's directories through a symbolic link" % shown(asked)
            )
        return Uncovered("no mount covers %s" % shown(asked))


def parts_of(path: bytes) -> Tuple[bytes, ...]:
    """The components of a path; `..` stays."""
    return tuple(p for p in path.split(b"/") if p not in (b"", b"."))


def shown(path: bytes) -> str:
    """A path as a message shows it, whatever its bytes."""
    return path.decode("utf-8", "backslashreplace")
