"""What can be seen of a job in its workspace: claim, progress, tails, result."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tesp.backends import Seen
from tesp.backends.local.process import Identity
from tesp.runner.plan import (
    CLAIM_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    TAILS_DIR,
    Progress,
    Result,
)

_Stamp = tuple[int, int, int]
_COARSE_NS = 50_000_000


def result_of(place: Path) -> Result | None:
    """The runner's result, None while there is none."""
    data = _json(place / RESULT_FILE)
    return None if data is None else Result.from_json(data)


def runner_of(place: Path) -> Identity | None:
    """The runner that took the job, None where none has."""
    data = _json(place / CLAIM_FILE)
    if not data or "pid" not in data:
        return None
    return Identity(int(data["pid"]), int(data["start"]), str(data["boot"]))


def tails_of(place: Path) -> dict[str, bytes]:
    """The newest tails of all executors."""
    directory = place / TAILS_DIR
    return {name: _bytes(directory / name) for name in _stamps(directory)}


def progress_of(place: Path) -> Progress:
    """How far the executors have come."""
    data = _json(place / PROGRESS_FILE)
    return Progress() if data is None else Progress.from_json(data)


class Observation:
    """Looks again and again, and tells only what has changed.

    Whatever the runner writes, it renames into its place: a directory's own time tells whether
    to look at all. That time is coarse: after a change of a moment ago, another may have the
    same time, and so the next look is a whole one too.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._directories = (str(place), str(place / TAILS_DIR))
        self._times: tuple[int, ...] = ()
        self._just_changed = False
        self._progress: _Stamp | None = None
        self._tails: Mapping[str, _Stamp] = {}

    def stirred(self) -> bool:
        """Whether anything may have changed since the last time."""
        now = time.time_ns()  # before the look: how long that takes does not count
        times = tuple(_time(directory) for directory in self._directories)
        fresh = times != self._times or self._just_changed
        self._times, self._just_changed = times, now - max(times) < _COARSE_NS
        return fresh

    def news(self) -> Seen | None:
        """What there is to see now, None where it is what was seen before."""
        progress = _stamp(self._place / PROGRESS_FILE)
        tails = _stamps(self._place / TAILS_DIR)
        if (progress, tails) == (self._progress, self._tails):
            return None
        self._progress, self._tails = progress, tails
        return Seen(progress_of(self._place), tails_of(self._place))


def _time(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except FileNotFoundError:
        return 0


def _stamps(directory: Path) -> dict[str, _Stamp]:
    try:
        names = sorted(p.name for p in directory.iterdir() if p.name.endswith(("out", "err")))
    except FileNotFoundError:
        return {}
    stamps = ((name, _stamp(directory / name)) for name in names)
    return {name: stamp for name, stamp in stamps if stamp}


def _stamp(file: Path) -> _Stamp | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes() or b"null")
    except (FileNotFoundError, ValueError):
        # Not valid: its writer died in the middle, or is about to finish it.
        return None
