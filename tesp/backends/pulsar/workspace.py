"""The files of a job on a Pulsar, over REST."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tesp.backends.pulsar import wire
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.wire import Name
from tesp.staging import Stream, tree


class PulsarWorkspace:
    """One job's workspace. `turns` bounds the transfers at once of its Pulsar, which has four
    threads for everything."""

    def __init__(
        self, client: RestPulsarClient, job: Name, turns: asyncio.Semaphore, broken: set[str]
    ) -> None:
        """`broken` takes the place of a job for which a request was left in the middle: Pulsar
        may make something there yet."""
        self._client, self._job, self._turns, self._broken = client, job, turns, broken

    async def write(self, file: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file, making its parents; the bytes written. Nothing reads it before the
        runner starts, and what broke is written anew before that."""
        name = _plain(file)
        async with self._turns:
            return await self.bring(name, chunks)

    @asynccontextmanager
    async def open(self, file: str) -> AsyncIterator[Stream]:
        """Open a file for reading; its size is not told."""
        name = _plain(file)
        async with self._turns, self._client.open(self._job, name) as chunks:
            yield Stream(chunks)

    async def make_directory(self, file: str) -> None:
        """Have the runner make a directory, open to whatever user the container has."""
        tree.parts_of(file)
        name = wire.in_metadata(wire.marker_of(file))
        await self.bring(name, once(b""))

    async def bring(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file by its name below the metadata directory, in no turn; the bytes written."""
        try:
            return await self._client.write(self._job, name, chunks)
        except BaseException:
            self._broken.add(self._job.place)
            raise

    async def free_bytes(self) -> int | None:
        """Pulsar does not tell."""
        return None


def _plain(file: str) -> str:
    tree.parts_of(file)
    return wire.in_metadata(file)
