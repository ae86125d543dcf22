"""Starts runners: a warm process forks one for each workspace."""

import asyncio
import json
import subprocess
from collections.abc import Sequence

from tesp.backends.local.process import Identity, boot_id, start_of
from tesp.errors import BackendError


class Starter:
    """Holds the warm process, and starts it anew where it has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, place: str) -> Identity | None:
        """Start a runner in a workspace; the process, None where it has ended already."""
        async with self._turn:
            asking = asyncio.ensure_future(self._started(place))
            try:
                pid = await asyncio.shield(asking)
            except asyncio.CancelledError:
                # The answer must not wait in the pipe, for the next who asks.
                await asyncio.wait([asking])
                raise
        start = start_of(pid)
        return None if start is None else Identity(pid, start, boot_id())

    async def _started(self, place: str) -> int:
        try:
            return await self._asked(place)
        except (OSError, ValueError):
            # The warm process is gone; a runner that it did start keeps its claim.
            self._process = None
            return await self._asked_anew(place)

    async def _asked_anew(self, place: str) -> int:
        try:
            return await self._asked(place)
        except (OSError, ValueError) as error:
            raise BackendError(f"The runner could not be started: {error}") from error

    async def _asked(self, place: str) -> int:
        process = self._process or await self._open()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(place).encode() + b"\n")
        await process.stdin.drain()
        return int(await process.stdout.readline())

    async def _open(self) -> asyncio.subprocess.Process:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            "serve",
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        return self._process

    async def close(self) -> None:
        """End the warm process; runners go on."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            self._process = None
