"""Programs of tesp that start at once: forked from a process that has loaded them already.

Most of a start is loading, and the suite starts hundreds of servers. What runs is the same; who
measures starts, or memory, takes the program itself.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

_LOADED = [
    *("tesp.cli.program", "tesp.app", "tesp.store.mongo"),
    *("tesp.backends.pulsar.rest_backend", "tesp.backends.pulsar.amqp_backend"),
    # What these load when they start.
    *("docker", "dynaconf.utils", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl"),
    *("uvicorn.protocols.websockets.websockets_sansio_impl", __name__),
]
_CONTEXT: ForkServerContext = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_LOADED)


class WarmProgram:
    """`tesp` with these arguments, as far as it is asked like a subprocess.Popen. What it prints
    goes to the end of the log. It ends with the process that started it."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        arguments = (list(argv), dict(env), str(log))
        self._process = _CONTEXT.Process(target=_run, args=arguments, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """As by `kill`."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> int:
        """The exit code, when it has ended."""
        self._process.join(seconds)
        code = self.poll()
        if code is None:
            raise TimeoutError(f"{self.pid} still runs after {seconds:g} s")
        return code


def _run(argv: list[str], env: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    nothing = os.open(os.devnull, os.O_RDONLY)
    printed = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for fd, place in ((nothing, 0), (printed, 1), (printed, 2)):
        os.dup2(fd, place)
    sys.argv = argv
    from tesp.cli import main

    sys.exit(main())
