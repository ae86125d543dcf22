"""A warm process that forks a runner for each workspace: no runner waits for its imports."""

import gc
import json
import os
import signal
import sys
from typing import Callable


def serve(run: Callable[[], int]) -> int:
    """Fork a runner for each line of standard input, and answer its pid on a line.

    A line is a workspace as a JSON string. The end of the input ends this process alone:
    runners lead sessions of their own.
    """
    # What a runner imports only where it is needed is needed here by most.
    from tesp.runner import containers, engine, programs  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    if hasattr(gc, "freeze"):  # since Python 3.7: forked processes share what is never looked at
        gc.freeze()  # novermin
    for line in sys.stdin.buffer:
        place = json.loads(line.decode())
        pid = os.fork()
        if pid == 0:
            os._exit(_runner(place, run))
        sys.stdout.write("%d\n" % pid)
        sys.stdout.flush()
    return 0


def _runner(place: str, run: Callable[[], int]) -> int:
    """The life of a forked runner; what goes wrong before it has a log is said on stderr."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # The next workspace's name is not for this process, nor its end of the pipe.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    try:
        os.setsid()
        os.chdir(place)
        return run()
    except BaseException:  # noqa: BLE001 - the end of a process
        import traceback

        traceback.print_exc()
        return 1
