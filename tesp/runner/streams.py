"""What a command says: all of it to a file, the last of it to a tail that readers may poll."""

import errno
import os
import time
from typing import BinaryIO, Optional

from tesp.runner.failure import Failure
from tesp.runner.plan import DISK_FULL, RUNTIME_ERROR
from tesp.runner.process import encode

TAIL_SECONDS = 0.2
RESERVE_FILE = "reserve"
RESERVE_BYTES = 512 * 1024  # two last tails and a result


class Capture:
    """One stream of one executor.

    `file` gets every byte; `tail` is replaced as a whole, at most every TAIL_SECONDS, with the
    last `limit` bytes. A file that cannot be written is told once, by `problem`.
    """

    def __init__(self, tail: str, limit: int, file: Optional[BinaryIO]) -> None:
        self._tail, self._limit, self.file = tail, limit, file
        self._last = bytearray()
        self._written = 0.0
        self._fresh = True
        self.problem: Optional[Failure] = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._last += data
        self._fresh = True
        if len(self._last) > 2 * self._limit + 65536:
            del self._last[: len(self._last) - self._limit]
        if self.file is not None and self.problem is None:
            try:
                write_all(self.file.fileno(), data)
            except OSError as error:
                self.problem = Failure(
                    DISK_FULL if is_full(error) else RUNTIME_ERROR,
                    "The command's output cannot be written: %s." % error,
                )

    def forget(self) -> None:
        """Begin anew: what came so far was the runtime's own."""
        self._last.clear()
        if self.file is not None:
            os.ftruncate(self.file.fileno(), 0)
            os.lseek(self.file.fileno(), 0, os.SEEK_SET)

    def refresh(self) -> None:
        """Replace the tail, if there is news and the last time is long enough ago."""
        if self._fresh and time.monotonic() - self._written >= TAIL_SECONDS:
            self._replace()

    def close(self) -> None:
        """Write the tail for the last time."""
        self._replace(at_last=True)
        if self.file is not None:
            self.file.close()

    def last(self) -> str:
        """The last bytes as text, for a message."""
        return self._last[-2000:].decode("utf-8", "replace")

    def _replace(self, at_last: bool = False) -> None:
        tail = self._last[-self._limit :] if self._limit else b""
        try:
            if at_last:
                replace_at_last(self._tail, bytes(tail))
            else:
                replace(self._tail, bytes(tail))
        except OSError:
            pass  # no room for a tail: the result tells, and the file matters more
        self._fresh, self._written = False, time.monotonic()


def is_full(error: BaseException) -> bool:
    """Whether an error means that the disk, or the user's share of it, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def reserve() -> None:
    """Set room aside for what must be written at last, should the command fill the disk."""
    fd = os.open(RESERVE_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, RESERVE_BYTES)
    except OSError:
        pass  # a file system that cannot: then there is none
    finally:
        os.close(fd)


def replace_at_last(path: str, data: bytes, durable: bool = False) -> None:
    """Write a file whole, on a full disk in the room that was set aside."""
    try:
        replace(path, data, durable)
    except OSError as error:
        if not is_full(error):
            raise
        try:
            os.unlink(RESERVE_FILE)
        except FileNotFoundError:
            pass
        replace(path, data, durable)


def replace(path: str, data: bytes, durable: bool = False) -> None:
    """Write a file whole: readers see the old one or the new one."""
    fresh = path + ".new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(fd, data)
        if durable:
            os.fsync(fd)
    except OSError:
        os.unlink(fresh)
        raise
    finally:
        os.close(fd)
    os.replace(fresh, path)
    if durable:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def note(text: str) -> None:
    """Say something in the runner's log; on a full disk it is lost."""
    try:
        write_all(2, encode(text.rstrip("\n") + "\n"))
    except OSError:
        pass


def write_all(fd: int, data: bytes) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def unlinked_file() -> int:
    """A file without a name: what is in it leaves no trace on the disk."""
    path = ".unlinked.%d" % os.getpid()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.unlink(path)
    return fd


def fill(fd: int, text: str) -> None:
    """Write a file for the one who reads it from its beginning."""
    write_all(fd, encode(text))
    os.lseek(fd, 0, os.SEEK_SET)
