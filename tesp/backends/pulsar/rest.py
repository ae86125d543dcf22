"""Pulsar's REST interface: one method a call, bytes streamed.

The token is in the query of every call: no error tells an address. A missing file, an unknown
manager and a full disk are all a bare 500 there.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from pydantic import SecretStr
from yarl import URL

from tesp.backends.pulsar import wire
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendRefused, BackendUnavailable, TransferFailed

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_CHECK_SECONDS = 15.0
_PATIENCE = aiohttp.ClientTimeout(None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
# Pulsar's server closes a connection that rests for two seconds.
_REST_SECONDS = 1.0
_CHUNK_BYTES = 256 << 10
_LONGEST_STATUS = 16 << 20
_AWAY = frozenset({502, 503, 504})


class RestPulsarClient:
    """One Pulsar over REST. Raises BackendUnavailable or BackendRefused, unless it says other."""

    def __init__(self, name: str, url: str, token: SecretStr | None = None) -> None:
        self._name = name
        self._url = url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def check(self, manager: str) -> None:
        """See that it answers, takes the token, and has the manager."""
        patience = aiohttp.ClientTimeout(_CHECK_SECONDS)
        async with self._call("GET", manager, "/healthz", timeout=patience) as answer:
            if answer.status != 200:
                raise BackendRefused(
                    f"The Pulsar {self._name} has no manager {manager}, or does not work: see its "
                    "app.yml, and manager or classes in the settings of this Pulsar."
                )
            if b'"version"' not in await self._head(answer, 4096):
                raise self._stranger("another program")

    async def set_up(self, job: Name) -> None:
        """Make the directory of a job; one that is there stays."""
        async with self._call("POST", job.manager, "/jobs", {"job_id": job.id}) as answer:
            if answer.status != 200:
                await self.check(job.manager)
                raise BackendUnavailable(
                    f"The Pulsar {self._name} cannot make a job's directory; its log tells why."
                )

    async def submit(self, job: Name, line: str, params: Mapping[str, str]) -> None:
        """Start a job that was set up; one that was started before is not started again."""
        arguments = {"command_line": line, "params": json.dumps(dict(params))}
        path = f"/jobs/{job.id}/submit"
        async with self._call("POST", job.manager, path, arguments) as answer:
            if answer.status != 200:
                await self.check(job.manager)
                raise BackendRefused(
                    f"The Pulsar {self._name} did not take the job; its log tells why."
                )

    async def status(self, job: Name) -> Status | None:
        """How a job stands; None where Pulsar answers, but fails to tell."""
        async with self._call("GET", job.manager, f"/jobs/{job.id}/status") as answer:
            if answer.status != 200:
                return None
            body = await self._head(answer, _LONGEST_STATUS + 1)
        try:
            whole = len(body) <= _LONGEST_STATUS
            return wire.status_of(body) if whole else wire.state_at_the_head(body)
        except ValueError:
            return None

    async def cancel(self, job: Name) -> None:
        """Kill a job's process, or take it out of the queue."""
        async with self._call("PUT", job.manager, f"/jobs/{job.id}/cancel"):
            pass

    async def delete(self, job: Name) -> None:
        """Remove what can be removed of a job's directory."""
        async with self._call("DELETE", job.manager, f"/jobs/{job.id}"):
            pass

    async def write(self, job: Name, file: str, chunks: AsyncIterator[bytes]) -> int:
        """Write a file below the metadata directory, and tell its size.

        TransferFailed where it broke although Pulsar is there: its disk may be full.
        """
        body = _Body(chunks)
        arguments = {"type": "metadata", "name": file}
        path = f"/jobs/{job.id}/files"
        try:
            async with self._call("POST", job.manager, path, arguments, body) as answer:
                refused = answer.status != 200
        except BackendUnavailable:
            if body.error:
                raise body.error from None
            await self.check(job.manager)
            refused = True
        if refused:
            raise TransferFailed(
                f"The Pulsar {self._name} did not take the file; its disk may be full, and its "
                "log tells why"
            )
        return body.size

    @asynccontextmanager
    async def open(self, job: Name, file: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Read a file below the metadata directory.

        TransferFailed where it is not there, cannot be read, or broke although Pulsar is there.
        """
        arguments = {"type": "output_metadata", "name": file}
        path = f"/jobs/{job.id}/files"
        async with self._call("GET", job.manager, path, arguments) as answer:
            if answer.status != 200:
                raise TransferFailed(
                    f"The Pulsar {self._name} cannot read the file; its log tells why"
                )
            yield self._chunks(job, answer)

    async def _chunks(self, job: Name, answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        gathered = bytearray()
        try:
            # It comes in pieces of a kilobyte.
            async for piece in answer.content.iter_any():
                gathered += piece
                if len(gathered) >= _CHUNK_BYTES:
                    yield bytes(gathered)
                    gathered.clear()
        except (aiohttp.ClientError, OSError) as error:
            await self.check(job.manager)
            raise TransferFailed(f"The Pulsar {self._name} broke off in the file") from error
        if gathered:
            yield bytes(gathered)

    async def read(self, job: Name, file: str, longest: int = 8 << 20) -> bytes | None:
        """A small file below the metadata directory, None where it cannot be read."""
        arguments = {"type": "output_metadata", "name": file}
        path = f"/jobs/{job.id}/files"
        async with self._call("GET", job.manager, path, arguments) as answer:
            return await self._head(answer, longest) if answer.status == 200 else None

    @asynccontextmanager
    async def _call(
        self,
        method: str,
        manager: str,
        path: str,
        arguments: Mapping[str, str] | None = None,
        body: AsyncIterator[bytes] | None = None,
        timeout: aiohttp.ClientTimeout = _PATIENCE,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        token = self._token.get_secret_value() if self._token else None
        asked = wire.query({**(arguments or {}), **({"private_token": token} if token else {})})
        url = URL(f"{self._url}/managers/{manager}{path}?{asked}", encoded=True)
        try:
            answer = await self._connected().request(
                method, url, data=body, allow_redirects=False, timeout=timeout
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(_reason(error)) from error
        async with answer:
            self._judge(answer)
            yield answer

    async def _head(self, answer: aiohttp.ClientResponse, longest: int) -> bytes:
        """The first bytes of a body, all of it where it is shorter."""
        read = bytearray()
        try:
            async for piece in answer.content.iter_any():
                read += piece
                if len(read) >= longest:
                    return bytes(read[:longest])
        except (aiohttp.ClientError, OSError) as error:
            raise self._unavailable(_reason(error)) from error
        return bytes(read)

    def _unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(
            f"The Pulsar {self._name} at {self._url} is out of reach: {reason}."
        )

    def _judge(self, answer: aiohttp.ClientResponse) -> None:
        if answer.status in (401, 403):
            raise BackendRefused(
                f"The Pulsar {self._name} refuses our token: set its private_token as token in "
                "the settings of this Pulsar."
            )
        if answer.status in _AWAY:
            raise self._unavailable(f"it answers {answer.status}")
        if answer.status not in (200, 500):
            raise self._stranger(f"it says {answer.status}")

    def _stranger(self, how: str) -> BackendRefused:
        return BackendRefused(
            f"What answers at {self._url} is no Pulsar ({how}): see url in the settings of the "
            f"Pulsar {self._name}."
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_REST_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


class _Body:
    """An upload on its way: counts, and keeps what went wrong at its source."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size = 0
        self.error: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:  # aiohttp would make it an error of the network
            self.error = error
            raise
        self.size += len(chunk)
        return chunk


def _reason(error: Exception) -> str:
    """Why there was no answer, without an address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    number: Any = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    return {
        "ServerDisconnectedError": "it closed the connection",
        "ClientPayloadError": "it broke off in its answer",
    }.get(type(error).__name__, type(error).__name__)


async def once(data: bytes) -> AsyncIterator[bytes]:
    """Bytes as a stream."""
    yield data
    await asyncio.sleep(0)
