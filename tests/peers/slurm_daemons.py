"""Runs a whole Slurm, controller and one node, until it is told to end.

    python slurm_daemons.py NODE PID_FILE

SLURM_CONF names its settings. What its jobs leave behind becomes a child of this process, and
ends with it.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_GRACE_SECONDS = 5.0

Daemon = subprocess.Popen[bytes]


def main(node: str, pid_file: str) -> int:
    """Start both daemons, and stay until one has ended or we are told to end."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    Path(pid_file).write_text(str(os.getpid()))
    daemons = [_started("slurmctld", "-D"), _started("slurmd", "-D", "-N", node)]
    while set(os.read(told, 4096) if select.select([told], [], []) else b"") == {signal.SIGCHLD}:
        if any(daemon.poll() is not None for daemon in daemons):
            break
        _reap({daemon.pid for daemon in daemons})
    _end(daemons)
    return max(daemon.returncode for daemon in daemons)


def descendants(pid: int) -> set[int]:
    """All processes below one."""
    found = _children(pid)
    return found.union(*map(descendants, found))


def _started(*argv: str) -> Daemon:
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, env={**os.environ, "PATH": _PATH}, start_new_session=True
    )


def _end(daemons: list[Daemon]) -> None:
    """End the daemons in order, and then at once whatever their jobs have left."""
    for daemon in daemons:
        daemon.terminate()
    for daemon in daemons:
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(_GRACE_SECONDS)
    while left := descendants(os.getpid()):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        _reap(set())
        time.sleep(0.02)


def _reap(kept: set[int]) -> None:
    """Let go of orphans that have ended."""
    for pid in _children(os.getpid()) - kept:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _children(pid: int) -> set[int]:
    with contextlib.suppress(OSError):
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        return {int(child) for task in tasks for child in task.read_text().split()}
    return set()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
