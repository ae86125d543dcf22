"""A program that a trigger starts: it sees the message in its environment, and nowhere else."""

import asyncio
import contextlib
import logging
import os
import time
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

from tesp.agents.command import Command
from tesp.agents.environment import Exports
from tesp.bus import Message
from tesp.settings import TriggerSettings

_log = logging.getLogger(__name__)

# What is ours and no secret.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR")
_TAIL_BYTES = 2000
_LAST_WORDS_SECONDS = 5.0


class Program:
    """One program with its arguments, run for a message at a time."""

    def __init__(self, settings: TriggerSettings) -> None:
        self._name, self._argv = settings.name, settings.command or ()
        self._timeout_seconds = settings.timeout_seconds
        self._exports = Exports()

    async def start(self, message: Message) -> None:
        """Run it to its end."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                env={**inherited, **self._exports.variables(message)},
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _log.error("Trigger %s: %r starts nothing: %s", self._name, message.id, error)
            return
        command = Command(process)
        assert process.stdout
        reading = asyncio.ensure_future(_tail(process.stdout))
        try:
            await self._watch(command, reading, message)
        finally:
            reading.cancel()
            if process.returncode is None:
                await command.end()

    async def _watch(
        self, command: Command, reading: "asyncio.Future[bytes]", message: Message
    ) -> None:
        began = time.monotonic()
        code = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_seconds):
                code = await command.wait()
        seconds = time.monotonic() - began
        if code is None:
            await command.end()
        if code == 0:
            _log.info("Trigger %s: %r was done in %.1f s.", self._name, message.id, seconds)
            return
        said = b""
        # What it left behind may hold the other end open.
        with contextlib.suppress(TimeoutError):
            said = await asyncio.wait_for(reading, _LAST_WORDS_SECONDS)
        how = "was too slow" if code is None else f"failed with {code}"
        _log.warning(
            "Trigger %s: %r: the command %s after %.1f s; it said %r.",
            self._name,
            message.id,
            how,
            seconds,
            said.decode(errors="replace"),
        )


async def _tail(stream: asyncio.StreamReader) -> bytes:
    """The end of what it says, in bounded memory."""
    tail = b""
    while block := await stream.read(65536):
        tail = (tail + block)[-_TAIL_BYTES:]
    return tail
