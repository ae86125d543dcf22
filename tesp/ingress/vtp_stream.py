"""Frames over a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from tesp.errors import BusUnavailable
from tesp.ingress import vtp
from tesp.ingress.networks import is_within


class Stream:
    """A peer; whoever sends waits for it to take what was sent."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._most_bytes = most_bytes

    async def next(self) -> bytes | None:
        """The next frame; None at the end. Raises MessageRefused, then the peer is of no use."""
        try:
            header = await self._reader.readexactly(vtp.HEADER_BYTES)
            return await self._reader.readexactly(vtp.length(header, self._most_bytes))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def send(self, body: bytes) -> None:
        """Send one frame; raises OSError."""
        self._writer.write(vtp.frame(body))
        await self._writer.drain()

    def is_one_of(self, networks: Sequence[str]) -> bool:
        """Whether the peer is in one of the networks."""
        return is_within(self._writer.get_extra_info("peername"), networks)

    @property
    def peer(self) -> str:
        """Who it is, for the log."""
        return str(self._writer.get_extra_info("peername"))

    async def close(self) -> None:
        """Say goodbye."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(5):
                await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connected(host: str, port: int, most_bytes: int, seconds: float) -> AsyncIterator[Stream]:
    """A connection; raises BusUnavailable."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        why = str(error) or f"it was silent for {seconds:g} s"
        raise BusUnavailable(f"The broker {host}:{port} cannot be reached: {why}") from error
    stream = Stream(reader, writer, most_bytes)
    try:
        yield stream
    finally:
        await stream.close()
