"""ftp:// and ftps:// URLs: REST to go on, a temporary name and a rename to put."""

import contextlib
import posixpath
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import unquote

import aioftp

from tesp.errors import (
    AccessRefused,
    SourceChanged,
    SourceMissing,
    StagingError,
    TransferFailed,
    UnsupportedUrl,
)
from tesp.settings import HostAccess
from tesp.staging import Chunks, Entry, Stream
from tesp.staging.access import DEFAULT_PORTS, access_of
from tesp.staging.supply import Supply
from tesp.staging.urls import below, shown, split

_BLOCK_BYTES = 1 << 20
_CLIENT_ERRORS = (aioftp.AIOFTPException, OSError, EOFError, ValueError)


class FtpStorage:
    """Files behind FTP servers; one connection for each transfer."""

    schemes = frozenset({"ftp", "ftps"})
    lists = True

    def __init__(
        self,
        access: Sequence[HostAccess] = (),
        timeout_seconds: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._access, self._timeout, self._tls = access, timeout_seconds, tls

    def check(self, url: str, *, writing: bool) -> None:
        """Refuse a URL without a host, and a path that no FTP command can carry."""
        path = unquote(split(url).path)
        if any(c in path for c in "\r\n\0"):
            raise UnsupportedUrl(f"{shown(url)}: FTP cannot carry a line end in a path")

    def locations(self) -> list[str]:
        """Any server."""
        return ["ftp://", "ftps://"]

    @asynccontextmanager
    async def open(self, url: str, start: int = 0, tag: str | None = None) -> AsyncIterator[Stream]:
        """Open a file from byte `start`; its times and size tell versions apart."""
        async with self._session(url) as client:
            with _translated(url):
                facts = await _facts(client, _path(url))
                size, now = _version(facts, url)
                if tag not in (None, now):
                    raise SourceChanged(f"{shown(url)}: the file has changed since it was begun")
                data = await client.download_stream(_path(url), offset=start)
            try:
                yield Stream(_body(data, url), size, now)
            finally:
                data.close()

    async def put(self, url: str, chunks: Chunks, size: int) -> None:
        """Store a file by a temporary name and RNFR/RNTO, making its parents."""
        path = _path(url)
        parent, name = posixpath.split(path)
        if not name:
            raise StagingError(f"{shown(url)}: that names a directory, not a file")
        draft = posixpath.join(parent, f".{secrets.token_hex(8)}.part")
        async with self._session(url) as client:
            await _make(client, parent, url)
            try:
                async with Supply(chunks, size, shown(url), self._timeout) as supply:
                    with _translated(url):
                        await _send(client, draft, supply)
                with _translated(url):
                    await _keep(client, draft, path, size, url)
            except StagingError:
                await self._discard(url, draft)
                raise

    async def list(self, url: str) -> AsyncIterator[Entry]:
        """The files below a directory, at any depth."""
        async with self._session(url) as client:
            waiting = [""]
            while waiting:
                name = waiting.pop()
                with _translated(url):
                    found = await _listed(client, posixpath.join(_path(url), name))
                for child, facts in found:
                    inner = posixpath.join(name, child)
                    if facts["type"] == "dir":
                        waiting.append(inner)
                    elif facts["type"] == "file":
                        yield Entry(below(url, inner), inner, _size(facts))

    async def close(self) -> None:
        """Nothing is held between transfers."""

    @asynccontextmanager
    async def _session(self, url: str) -> AsyncIterator[aioftp.Client]:
        with _translated(url):
            client = await self._connected(url)
        try:
            yield client
        finally:
            # No QUIT: a connection that broke, or is in the middle of a file, cannot take it.
            client.close()

    async def _connected(self, url: str) -> aioftp.Client:
        parts = split(url)
        client = await self._opened(parts.hostname or "", parts.port, parts.scheme == "ftps")
        access = access_of(parts, self._access)
        try:
            if access is not None and access.username is not None:
                password = access.password.get_secret_value() if access.password else ""
                await client.login(access.username, password)
            else:
                await client.login()
            if client.ssl:
                await _protect(client)
        except BaseException:
            client.close()
            raise
        return client

    async def _opened(self, host: str, port: int | None, secure: bool) -> aioftp.Client:
        if not secure:
            return await self._greeted(host, port or DEFAULT_PORTS["ftp"], implicit=False)
        port = port or DEFAULT_PORTS["ftps"]
        try:
            client = await self._greeted(host, port, implicit=True)
        except ssl.SSLError as error:
            # The server spoke first, and plainly: it wants AUTH TLS.
            if error.reason != "WRONG_VERSION_NUMBER":
                raise
            client = await self._greeted(host, port, implicit=False)
            await client.upgrade_to_tls(self._context())
        return client

    async def _greeted(self, host: str, port: int, implicit: bool) -> aioftp.Client:
        client = aioftp.Client(
            socket_timeout=self._timeout,
            connection_timeout=self._timeout,
            ssl=self._context() if implicit else None,
            limit=_BLOCK_BYTES,
        )
        try:
            await client.connect(host, port)
        except BaseException:
            client.close()
            raise
        return client

    def _context(self) -> ssl.SSLContext:
        return self._tls or ssl.create_default_context()

    async def _discard(self, url: str, draft: str) -> None:
        """Take a half file away; the connection that made it may be gone."""
        with contextlib.suppress(StagingError):
            async with self._session(url) as client:
                with _translated(url):
                    await client.remove_file(draft)


def _path(url: str) -> str:
    return unquote(split(url).path) or "/"


async def _protect(client: aioftp.Client) -> None:
    """Ask for TLS on data connections; they get it from us whatever the server answers."""
    with contextlib.suppress(aioftp.StatusCodeError):
        await client.command("PBSZ 0", "2xx")
        await client.command("PROT P", "2xx")


async def _facts(client: aioftp.Client, path: str) -> Mapping[str, Any]:
    """Type, size and times of a path; `unique` too, where the server has it."""
    with contextlib.suppress(aioftp.StatusCodeError):
        await client.command("OPTS MLST type;size;modify;unique;", "2xx")
    return await client.stat(path)


def _version(facts: Mapping[str, Any], url: str) -> tuple[int | None, str | None]:
    if facts.get("type") != "file":
        raise SourceMissing(f"{shown(url)}: that is no file")
    if "modify" not in facts:
        return _size(facts), None
    names = ("unique", "modify", "size")
    return _size(facts), "-".join(str(facts[n]) for n in names if n in facts)


def _size(facts: Mapping[str, Any]) -> int | None:
    return int(facts["size"]) if "size" in facts else None


async def _body(data: aioftp.DataConnectionThrottleStreamIO, url: str) -> AsyncIterator[bytes]:
    with _translated(url):
        while block := await data.read(_BLOCK_BYTES):
            yield block
        await data.finish()


async def _send(client: aioftp.Client, draft: str, supply: Supply) -> None:
    async with client.upload_stream(draft) as data:
        async for chunk in supply.chunks():
            await data.write(chunk)


async def _keep(client: aioftp.Client, draft: str, path: str, size: int, url: str) -> None:
    arrived = _size(await client.stat(draft))
    if arrived is not None and arrived != size:
        raise TransferFailed(f"{shown(url)}: {arrived} bytes arrived instead of {size}")
    try:
        await client.rename(draft, path)
    except aioftp.StatusCodeError:
        # Some servers do not rename onto a file.
        await client.remove_file(path)
        await client.rename(draft, path)


async def _make(client: aioftp.Client, parent: str, url: str) -> None:
    """Make the parents that are missing, the innermost first to find out which."""
    missing = []
    with _translated(url):
        while parent.strip("/") and not await client.exists(parent):
            missing.append(parent)
            parent = posixpath.dirname(parent)
        for path in reversed(missing):
            # Another transfer may make it at the same moment; if not, STOR will say so.
            with contextlib.suppress(aioftp.StatusCodeError):
                await client.command(f"MKD {path}", "2xx")


async def _listed(client: aioftp.Client, path: str) -> Sequence[tuple[str, Mapping[str, Any]]]:
    try:
        if (await client.stat(path))["type"] not in ("dir", "cdir", "pdir"):
            return ()
        return [(found.name, facts) for found, facts in await client.list(path)]
    except aioftp.StatusCodeError as error:
        if error.received_codes[-1].matches("55x"):
            return ()
        raise


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except aioftp.StatusCodeError as error:
        raise _refusal(error, url) from error
    except TimeoutError as error:
        raise TransferFailed(f"{shown(url)}: the server was silent for too long") from error
    except ssl.SSLError as error:
        raise TransferFailed(f"{shown(url)}: no trusted TLS connection to the server") from error
    except _CLIENT_ERRORS as error:
        kind = type(error).__name__
        raise TransferFailed(f"{shown(url)}: the connection broke ({kind})") from error


def _refusal(error: aioftp.StatusCodeError, url: str) -> StagingError:
    code = str(error.received_codes[-1])
    lines = [error.info] if isinstance(error.info, str) else error.info
    text = " ".join(line.strip(" -") for line in lines)
    said = f"{shown(url)}: the server answered {code} {text}"
    if code in ("331", "332", "430", "530", "532", "534", "553"):
        return AccessRefused(f"{said}; the credentials for this host are missing or wrong")
    if code == "550":
        denied = any(word in text.lower() for word in ("denied", "privilege", "permi"))
        return AccessRefused(said) if denied else SourceMissing(said)
    return TransferFailed(said) if code.startswith("4") or code == "552" else StagingError(said)
