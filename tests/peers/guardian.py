"""Runs one program until it ends, is told to end, or its owner is gone.

    python guardian.py OWNER_PID LOG_FILE PROGRAM [ARGUMENT ...]

The test run may be killed; a program that it started must not outlive it.
"""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

# An engine gives each container ten seconds before it ends itself.
GRACE_SECONDS = 40.0


def main(argv: list[str]) -> int:
    """Start the program and stay until it has ended; its exit code is ours."""
    owner = os.pidfd_open(int(argv[0]))
    told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(tell)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with Path(argv[1]).open("ab") as log:
        child = subprocess.Popen(argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    select.select([owner, told, os.pidfd_open(child.pid)], [], [])
    if child.poll() is None:
        child.terminate()
    try:
        return child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
