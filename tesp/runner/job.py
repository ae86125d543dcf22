"""A job of a batch system: it stays in the foreground, and its report is all that it says."""

import os
import time
from typing import Optional

from tesp.runner import attempts, identity, workspace
from tesp.runner.plan import DISK_FULL, FAILED, INTERNAL, RESULT_FILE, Result
from tesp.runner.report import Report, look, report_line
from tesp.runner.streams import is_full, write_all

_LOOK_SECONDS = 0.1


def job(place: str) -> int:
    """Run the plan of a workspace, which is made where it is missing, and report."""
    out = os.dup(1)
    result: Optional[Result] = None
    try:
        os.makedirs(place, exist_ok=True)
        os.chdir(place)
        result = attempts.once(in_foreground=True)
        if result is None:
            _wait_for_other()
    except Exception as error:  # noqa: BLE001 - whatever it was, it is reported
        result = Result(
            "",
            FAILED,
            reason=DISK_FULL if is_full(error) else INTERNAL,
            message="The runner failed on %s: %s." % (os.uname().nodename, error),
        )
    seen = look()
    return _say(out, seen if seen.result is not None else seen._replace(result=result))


def tell(place: str) -> int:
    """Report on a workspace; one that does not exist holds nothing."""
    try:
        os.chdir(place)
    except OSError:
        return _say(1, Report())
    return _say(1, look())


def _wait_for_other() -> None:
    """Another runner of this host has the workspace: stay until it ends."""
    owner, here = workspace.claimant(), identity.current()
    while owner is not None and identity.lives(owner, here) and not os.path.exists(RESULT_FILE):
        time.sleep(_LOOK_SECONDS)


def _say(fd: int, report: Report) -> int:
    write_all(fd, (report_line(report) + "\n").encode("ascii"))
    return 0
