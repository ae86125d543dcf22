"""The end of a job from outside: its runner, what runs for it, and its directory."""

import os
import signal
import sys
import time
from typing import Optional, Sequence

from tesp.runner import identity, orphans, workspace
from tesp.runner.plan import CANCEL_FILE, RESULT_FILE, Plan
from tesp.runner.process import kill
from tesp.runner.report import heartbeat

WORKSPACE = os.path.join("metadata", "tesp")  # of a job's directory
PATIENCE_SECONDS = 40.0  # how long a runner that is told to end may take
MISSED_BEATS, GRACE_SECONDS = 3, 2.0  # after which one that cannot be seen is dead
UNKNOWN_BEAT_SECONDS = 5.0


def remove() -> int:
    """End the runner of this workspace, and whatever it left; 1 where a container stays. It may
    be called again."""
    plan = _plan()
    owner = workspace.claimant()
    if owner is not None and not os.path.exists(RESULT_FILE):
        _end(owner, plan)
    if plan is None:
        return 0
    gone = orphans.remove(plan)
    orphans.make_ours(plan)
    if not gone:
        print("A container of %s cannot be removed." % plan.handle, file=sys.stderr)
    return 0 if gone else 1


def discard(directories: Sequence[str]) -> int:
    """Remove whole directories of jobs, what runs for them first; 1 where one of them stays."""
    here = os.path.realpath(os.getcwd())
    left = []
    for directory in [os.path.abspath(d) for d in directories]:
        if _holds(os.path.realpath(directory), here):
            print("%s is where this runs: it stays" % directory, file=sys.stderr)
            left.append(directory)
        elif not discarded(directory):
            left.append(directory)
    return 1 if left else 0


def remove_tree(directory: str) -> bool:
    """Remove a directory with all that is in it, also below directories that forbid it."""
    import shutil  # here: it costs the time of every start

    if os.path.islink(directory):
        return False
    for folder, names, _ in os.walk(directory, onerror=None):
        for name in names:
            _open_up(os.path.join(folder, name))
    shutil.rmtree(directory, ignore_errors=True)
    return not os.path.lexists(directory)


def discarded(directory: str) -> bool:
    """End what runs for a job, and remove its directory; False where something stays."""
    before = os.getcwd()
    try:
        os.chdir(os.path.join(directory, WORKSPACE))
    except OSError:
        return remove_tree(directory)  # no runner was ever there
    try:
        gone = remove() == 0
    finally:
        os.chdir(before)
    return gone and remove_tree(directory)


def _holds(directory: str, below: str) -> bool:
    return (below + "/").startswith(directory.rstrip("/") + "/")


def _open_up(folder: str) -> None:
    """Let us empty a directory of our own."""
    try:
        if not os.path.islink(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            os.chmod(folder, 0o700)
    except OSError:
        pass  # another user's: it is told by what is left


def _plan() -> Optional[Plan]:
    try:
        return workspace.load_plan()
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _end(owner: identity.Owner, plan: Optional[Plan]) -> None:
    """Tell a runner to end: one of this host is made to, one of another is waited for."""
    here = identity.current()
    if identity.is_dead(owner, here):
        return
    if not identity.is_here(owner, here):
        os.close(os.open(CANCEL_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
        beat_seconds = UNKNOWN_BEAT_SECONDS if plan is None else plan.heartbeat_seconds
        _wait_elsewhere(MISSED_BEATS * beat_seconds + GRACE_SECONDS)
        return
    for number, seconds in ((signal.SIGTERM, PATIENCE_SECONDS), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + seconds
        if identity.lives(owner, here):
            kill(owner.pid, number)
        while identity.lives(owner, here) and time.monotonic() < until:
            time.sleep(0.02)


def _wait_elsewhere(still_seconds: float) -> None:
    """Until there is a result, or no beat for so long, or patience ends."""
    until = time.monotonic() + PATIENCE_SECONDS
    beat, seen = heartbeat(), time.monotonic()
    while not os.path.exists(RESULT_FILE) and time.monotonic() < min(until, seen + still_seconds):
        time.sleep(0.05)
        if heartbeat() != beat:
            beat, seen = heartbeat(), time.monotonic()
