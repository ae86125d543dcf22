"""A command line that the shell runs, and the end of it."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping

_PATIENCE_SECONDS = 5.0


class Command:
    """A running command: the shell and all that it started, in a session of their own."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, line: str, environ: Mapping[str, str]) -> "Command":
        """Start it in this environment; raises OSError where that cannot be done."""
        process = await asyncio.create_subprocess_shell(
            line, env=environ, stdin=DEVNULL, start_new_session=True
        )
        return cls(process)

    async def wait(self) -> int:
        """Its exit code; the number of a signal that ended it, negative."""
        return await self._process.wait()

    async def end(self) -> None:
        """Ask it to end, and soon make it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._process.wait()
                    return
