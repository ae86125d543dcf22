"""The files of a workspace that the runner writes; the current directory is the workspace."""

import _thread
import json
import os
import time
from typing import Any, Dict, Optional

from tesp.runner.identity import Owner
from tesp.runner.plan import (
    CLAIM_FILE,
    HEARTBEAT_FILE,
    LOG_FILE,
    PLAN_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    TAILS_DIR,
    Plan,
    Progress,
    Result,
)
from tesp.runner.streams import is_full, replace, replace_at_last, reserve, write_all


def claim(owner: Owner) -> bool:
    """Take the workspace for this process; False where another runner ever did.

    It is taken whole or not at all: no reader finds a claim that does not say whose it is.
    """
    draft = "%s.%s" % (CLAIM_FILE, os.urandom(8).hex())  # pids of two nodes may be equal
    data = json.dumps(dict(owner._asdict(), time=time.time())).encode()
    _created(draft, data)
    try:
        os.link(draft, CLAIM_FILE)
        return True
    except FileExistsError:
        # Who has to ask a file server again is refused what the lost answer gave.
        return os.stat(draft).st_nlink > 1
    except OSError:  # a file system without links
        return _created(CLAIM_FILE, data)
    finally:
        os.unlink(draft)


def _created(path: str, data: bytes) -> bool:
    """Write a file that is not there yet; False where it is."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        return False
    try:
        write_all(fd, data)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)
    return True


def claimant() -> Optional[Owner]:
    """Who took the workspace; None where nobody did."""
    data = _load(CLAIM_FILE)
    try:
        return None if data is None else Owner(*(data[field] for field in Owner._fields))
    except KeyError:
        return None


def load_plan() -> Plan:
    """The plan; raises OSError, KeyError, TypeError or ValueError where it cannot be read."""
    with open(PLAN_FILE, encoding="utf-8") as file:
        return Plan.from_json(json.load(file))


def unpack_plan() -> None:
    """Take the plan that is packed with the runner, where the workspace has none."""
    if os.path.exists(PLAN_FILE):
        return
    loader: Any = globals().get("__loader__")
    archive = getattr(loader, "archive", None)
    if archive is not None:
        replace(PLAN_FILE, loader.get_data(os.path.join(archive, PLAN_FILE)))


def detach(lead: bool = True) -> None:
    """Let go of the server's terminal and pipes, and lead a session: it may end before us.

    Without `lead` we stay in the session and the process group of who waits for us.
    """
    try:
        if lead:
            os.setsid()
    except OSError:
        pass  # we lead one already
    log = os.open(LOG_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    for fd in (log, null):
        if fd > 2:
            os.close(fd)
    os.makedirs(TAILS_DIR, exist_ok=True)
    reserve()


class Heartbeat:
    """Writes the time to the heartbeat file now, and from a thread again, until it is stopped."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stopped = False
        try:
            replace(HEARTBEAT_FILE, _now())
        except OSError as error:
            if not is_full(error):
                raise
        _thread.start_new_thread(self._beat, ())

    def stop(self) -> None:
        """The result is there: the workspace is the server's again, and may be removed."""
        self._stopped = True

    def _beat(self) -> None:
        while not self._stopped:
            time.sleep(self._seconds)
            if not self._stopped:
                _touch()


def write_progress(progress: Progress) -> None:
    """Replace the progress; on a full disk readers must do with the old one."""
    try:
        replace(PROGRESS_FILE, json.dumps(progress.to_json()).encode())
    except OSError as error:
        if not is_full(error):
            raise


def write_result(result: Result) -> None:
    """Write the result, durably, whole or not at all."""
    replace_at_last(RESULT_FILE, json.dumps(result.to_json()).encode(), durable=True)


def _now() -> bytes:
    return b"%.3f\n" % time.time()


def _touch() -> None:
    """Write the time over the last one, in its place: that takes no room on a full disk."""
    try:
        fd = os.open(HEARTBEAT_FILE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(fd, _now(), 0)
        finally:
            os.close(fd)
    except OSError:
        pass  # the next beat tries again


def _load(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
