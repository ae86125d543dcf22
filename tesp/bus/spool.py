"""The spool: messages on disk until a broker takes them, for senders that have no store.

A file of lines, each a message behind its checksum; beside it how far it has been sent, and two
locks: one for a look or a write, one for whoever sends. Any number of processes share it, and any
of them may be killed at any moment: a line that is torn was never promised to anybody.
"""

import contextlib
import dataclasses
import fcntl
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tesp.bus import Message
from tesp.errors import BusError

_log = logging.getLogger(__name__)

_MESSAGES, _OFFSET, _REFUSED = "messages", "offset", "refused"
_LOOK, _SEND = "lock", "sending"


@dataclass(frozen=True, slots=True)
class Batch:
    """The oldest messages, and where the rest begins."""

    messages: Sequence[Message]
    end: int


class Spool:
    """A directory. Its methods block, for as long as it takes to write."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, messages: Sequence[Message]) -> None:
        """Keep messages behind all others; they are on disk when this returns."""
        with self._locked(), self._opened(_MESSAGES) as file:
            end = _mended(file)
            self._offset(end)
            _write_all(file, end, [_line(message) for message in messages])

    def append_behind(self, messages: Sequence[Message]) -> bool:
        """Keep messages, where others wait that they must not overtake; whether that was so."""
        with self._locked(), self._opened(_MESSAGES) as file:
            end = _mended(file)
            if self._offset(end) == end:
                return False
            _write_all(file, end, [_line(message) for message in messages])
            return True

    @contextlib.contextmanager
    def sending(self) -> Iterator["Sending | None"]:
        """The right to send what is here; None where another process does that already.

        Whoever has it sends until `oldest` gives None: what others append meanwhile, too.
        """
        with contextlib.ExitStack() as stack:
            try:
                lock = stack.enter_context(self._opened(_SEND))
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield Sending(self, lock)

    def count(self) -> int:
        """How many messages wait."""
        with self._locked(), self._opened(_MESSAGES) as file:
            end = _mended(file)
            start = self._offset(end)
            return os.pread(file, end - start, start).count(b"\n")

    def _oldest(self, limit: int, lock: int) -> Batch | None:
        with self._locked(), self._opened(_MESSAGES) as file:
            end = _mended(file)
            start = self._offset(end)
            if start < end:
                return _batch(file, start, limit)
            os.ftruncate(file, 0)
            self._put_offset(0)
            # Given back under the other lock: who appends later finds it free.
            fcntl.flock(lock, fcntl.LOCK_UN)
            return None

    def _advance(self, end: int) -> None:
        with self._locked():
            self._put_offset(end)

    def _put_aside(self, message: Message, reason: str) -> None:
        line = orjson.dumps({"reason": reason, "message": dataclasses.asdict(message)}) + b"\n"
        with self._locked(), self._opened(_REFUSED) as file:
            _write_all(file, os.fstat(file).st_size, [line])

    def _offset(self, end: int) -> int:
        """How far it has been sent. More than there is: it was emptied, and then we were killed."""
        try:
            offset = int((self._directory / _OFFSET).read_text() or 0)
        except (FileNotFoundError, ValueError):
            return 0
        if offset > end:
            self._put_offset(0)
            return 0
        return offset

    def _put_offset(self, offset: int) -> None:
        """Durable before anything is written that it would speak of wrongly."""
        anew = self._directory / f"{_OFFSET}.new"
        with anew.open("w") as file:
            file.write(str(offset))
            file.flush()
            os.fsync(file.fileno())
        anew.replace(self._directory / _OFFSET)
        _sync(self._directory)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._opened(_LOOK) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        path = self._directory / name
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_new = not path.exists()
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if is_new:
                    _sync(self._directory)
                yield file
            finally:
                os.close(file)
        except BlockingIOError:
            raise
        except OSError as error:
            raise BusError(
                f"The spool {self._directory} is of no use: {error.strerror}."
            ) from error


@dataclass(frozen=True, slots=True)
class Sending:
    """The right to send what the spool has."""

    spool: Spool
    lock: int

    def oldest(self, limit: int) -> Batch | None:
        """The oldest messages; None, and the right is given back, where there are none."""
        return self.spool._oldest(limit, self.lock)

    def sent(self, batch: Batch) -> None:
        """Forget messages that a broker has."""
        self.spool._advance(batch.end)

    def put_aside(self, message: Message, reason: str) -> None:
        """Keep a message that no broker takes where it stops no other."""
        self.spool._put_aside(message, reason)


def _line(message: Message) -> bytes:
    text = orjson.dumps(dataclasses.asdict(message))
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _message(line: bytes) -> Message | None:
    """None for what a crash of the machine has left there."""
    checksum, _, text = line.partition(b" ")
    try:
        if int(checksum, 16) == zlib.crc32(text):
            fields: dict[str, Any] = orjson.loads(text)
            return Message(**fields)
    except (ValueError, TypeError):
        pass
    _log.warning("The spool holds a line that is no message; it is left out.")
    return None


def _batch(file: int, start: int, limit: int) -> Batch:
    messages: list[Message] = []
    end = start
    with os.fdopen(os.dup(file), "rb") as lines:
        lines.seek(start)
        for line in lines:
            end += len(line)
            message = _message(line.rstrip(b"\n"))
            if message is not None:
                messages.append(message)
            if len(messages) == limit:
                break
    return Batch(messages, end)


def _mended(file: int) -> int:
    """Cut off a line that was torn when its writer was killed; where the file ends then."""
    size = os.fstat(file).st_size
    end, block = size, 65536
    while end:
        start = max(0, end - block)
        newline = os.pread(file, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return end


def _write_all(file: int, end: int, lines: Sequence[bytes]) -> None:
    """All of them or, where the disk is full, none."""
    whole = memoryview(b"".join(lines))
    place = end
    try:
        while whole:
            written = os.pwrite(file, whole, place)
            whole, place = whole[written:], place + written
        os.fsync(file)
    except OSError:
        os.ftruncate(file, end)
        raise


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
