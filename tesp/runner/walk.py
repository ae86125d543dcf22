"""The way to a path of the container, component by component, each opened below the last without
following links; a link is read and resolved as the container would see it."""

import os
import stat
from typing import Dict, List, Optional, Sequence, Set, Tuple

from tesp.runner.plan import Mount
from tesp.runner.process import encode
from tesp.runner.spots import LOOK, Refused, Spot, Uncovered, open_source, parts_of, shown

MOST_LINKS = 40


class Cover:
    """Which paths of the container its mounts show, and from where."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self.sources: Dict[Tuple[bytes, ...], bytes] = {}
        self._above: Set[Tuple[bytes, ...]] = {()}
        self._writable: Set[Tuple[bytes, ...]] = set()
        for mount in mounts:
            target = parts_of(encode(mount.target))
            self.sources[target] = encode(mount.source)
            self._above.update(target[:i] for i in range(len(target)))
            if mount.writable:
                self._writable.add(target)

    def is_above(self, path: Tuple[bytes, ...]) -> bool:
        """Whether a mount lies below that path."""
        return path in self._above

    def below(self, path: Tuple[bytes, ...]) -> Set[bytes]:
        """The names in that directory that lead to mounts."""
        depth = len(path)
        return {t[depth] for t in self.sources if t[:depth] == path and t != path}

    def check_writable(self, place: bytes, path: str) -> None:
        """Raise Uncovered or Refused where what is written there would not be kept."""
        parts = parts_of(place)
        covering = [parts[:i] for i in range(len(parts), -1, -1) if parts[:i] in self.sources]
        if not covering:
            raise Uncovered("no mount covers %s" % path)
        if covering[0] not in self._writable:
            raise Refused("%s is in a read-only mount" % path)


class Walk:
    """One way through the mounts: the components so far, and a descriptor for each."""

    def __init__(self, cover: Cover) -> None:
        self._cover = cover
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
        source = self._cover.sources.get(())
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
        source = self._cover.sources.get(parts_of(path))
        if source is not None:
            self._steps.append(Spot(open_source(source), path, source))
        elif here.fd is None:
            if not self._cover.is_above(parts_of(path)):
                raise self._outside(asked)
            self._steps.append(Spot(None, path, b""))
        else:
            return self._open_below(here, part, path)
        return None

    def _open_below(self, here: Spot, part: bytes, path: bytes) -> Optional[bytes]:
        try:
            fd = os.open(part, LOOK, dir_fd=here.fd)
        except NotADirectoryError:
            raise FileNotFoundError(shown(path)) from None
        except FileNotFoundError:
            if not self._cover.is_above(parts_of(path)):
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
