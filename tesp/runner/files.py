"""The container's files as its mounts show them, opened without following a link out of those."""

import os
import stat
from typing import BinaryIO, List, Optional, Sequence

from tesp.runner.plan import Mount
from tesp.runner.process import encode
from tesp.runner.spots import READ, Refused, Spot, Uncovered, open_spot, parts_of, shown
from tesp.runner.walk import Cover, Walk


class Tree:
    """The container's files, as far as its mounts show them."""

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self._cover = Cover(mounts)

    def resolve(self, path: bytes) -> Spot:
        """Find a path; the caller closes the descriptor.

        Raises FileNotFoundError, Uncovered, or Refused where a link leads out or round.
        """
        walk = Walk(self._cover)
        try:
            return walk.to(path)
        finally:
            walk.close()

    def names(self, spot: Spot) -> List[bytes]:
        """What is in a directory, in order."""
        found = self._cover.below(parts_of(spot.path))
        if spot.fd is not None:
            fd = os.open("/proc/self/fd/%d" % spot.fd, READ | os.O_DIRECTORY)
            try:
                found.update(os.fsencode(n) for n in os.listdir(fd))
            finally:
                os.close(fd)
        return sorted(found)

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
            self._cover.check_writable(spot.path, path)
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
        self._cover.check_writable(spot.path, shown(path))
        return spot
