"""The directories of other jobs beside ours: nobody may ever come to remove them."""

import os
import time

from tesp.runner import orphans
from tesp.runner.plan import CLAIM_FILE, RESULT_FILE

KEPT_SECONDS = 7 * 86400.0
_TO_ALL_JOBS = os.path.join("..", "..", "..")  # from a workspace: metadata/tesp of a job


def sweep_in_background() -> None:
    """Remove those that ended long ago in a process of its own, unless that was just done."""
    top = os.path.realpath(_TO_ALL_JOBS)
    if not orphans.is_due("jobs", top):
        return
    try:
        now = os.stat(CLAIM_FILE).st_mtime  # by the clock of the file system
    except OSError:
        now = time.time()
    if orphans.detached():
        try:
            os.nice(10)
            os.chdir(top)
            sweep(top, now - KEPT_SECONDS)
        finally:
            os._exit(0)


def sweep(top: str, before: float) -> None:
    """Remove the directories of jobs whose results are older than that."""
    from tesp.runner.removal import WORKSPACE, discarded  # here: jobs start without it

    for name in sorted(os.listdir(top)):
        directory = os.path.join(top, name)
        try:
            old = os.stat(os.path.join(directory, WORKSPACE, RESULT_FILE)).st_mtime < before
        except OSError:
            continue  # it runs, or is no job of ours
        if old and not os.path.islink(directory):
            discarded(directory)
