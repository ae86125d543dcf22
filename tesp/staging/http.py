"""http:// and https:// URLs: GET with Range and If-Range, PUT."""

import re
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from urllib.parse import quote, urljoin

import aiohttp
from yarl import URL

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
from tesp.staging.access import access_of, authorization
from tesp.staging.supply import Supply
from tesp.staging.urls import shown, split

_READ_BUFFER_BYTES = 1 << 20
_REDIRECTS = (301, 302, 307, 308)
_MOST_REDIRECTS = 5
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


class HttpStorage:
    """Files behind HTTP servers; there is no listing."""

    schemes = frozenset({"http", "https"})
    lists = False

    def __init__(
        self,
        access: Sequence[HostAccess] = (),
        timeout_seconds: float = 60.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._access, self._timeout, self._tls = access, timeout_seconds, tls
        self._session: aiohttp.ClientSession | None = None

    def check(self, url: str, *, writing: bool) -> None:
        """Refuse a URL without a host."""
        split(url)

    def locations(self) -> list[str]:
        """Any server."""
        return ["http://", "https://"]

    @asynccontextmanager
    async def open(self, url: str, start: int = 0, tag: str | None = None) -> AsyncIterator[Stream]:
        """Open a file from byte `start`, where the server knows ranges without its head."""
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if tag and not tag.startswith("W/"):
                headers["If-Range"] = tag
        with _translated(url):
            response = await self._begin("GET", url, headers)
        try:
            yield _stream(response, url, start, tag)
        finally:
            # Not released: what is left of the body would have to be read first.
            response.close()

    async def put(self, url: str, chunks: Chunks, size: int) -> None:
        """PUT a file; the servers' own promise is to keep it whole or not at all."""
        target = url
        for _ in range(_MOST_REDIRECTS):
            async with Supply(chunks, size, shown(url), self._timeout) as supply:
                further = await self._put_once(target, supply, size, url)
            if further is None:
                return await self._verify(url, size)
            target = further
        raise StagingError(f"{shown(url)}: more than {_MOST_REDIRECTS} redirects")

    async def _put_once(self, target: str, supply: Supply, size: int, url: str) -> str | None:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        with _translated(url):
            # An empty generator would be sent chunked by some versions: no body needs none.
            data = supply.chunks() if size else b""
            response = await self._begin("PUT", target, headers, data)
            async with response:
                if response.status in _REDIRECTS and "Location" in response.headers:
                    return urljoin(target, response.headers["Location"])
                _expect(response, (200, 201, 202, 204), url)
        return None

    async def _verify(self, url: str, size: int) -> None:
        """Ask for the size; a server that does not tell (a presigned PUT) is believed."""
        with _translated(url):
            async with await self._begin("HEAD", url, {"Accept-Encoding": "identity"}) as response:
                told = response.headers.get("Content-Length")
                plain = "Content-Encoding" not in response.headers
                if response.status == 200 and told and plain and int(told) != size:
                    raise TransferFailed(f"{shown(url)}: {told} bytes arrived instead of {size}")

    async def list(self, url: str) -> AsyncIterator[Entry]:
        """Refused: HTTP has no listing."""
        raise UnsupportedUrl(
            f"{shown(url)}: a DIRECTORY cannot be read over http, which has no listing; "
            "give each file an input of its own, or use s3, ftp or file"
        )
        yield

    async def close(self) -> None:
        """Close idle and open connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _begin(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: AsyncIterator[bytes] | bytes | None = None,
    ) -> aiohttp.ClientResponse:
        parts = split(_escaped(url))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        netloc = f"{host}:{parts.port}" if parts.port else f"{host}"
        plain = parts._replace(netloc=netloc, fragment="").geturl()
        return await self._connected().request(
            method,
            URL(plain, encoded=True),
            headers={**headers, **authorization(access_of(parts, self._access))},
            data=data,
            allow_redirects=method != "PUT",
            proxy=_proxy(parts.scheme, parts.netloc.rpartition("@")[2]),
        )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            silence = self._timeout
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls or True),
                timeout=aiohttp.ClientTimeout(None, sock_connect=silence, sock_read=silence),
                # One task's cookies are nothing for another; nor are those of ~/.netrc.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_READ_BUFFER_BYTES,
                headers={"User-Agent": "tesp"},
            )
        return self._session


def _stream(response: aiohttp.ClientResponse, url: str, start: int, tag: str | None) -> Stream:
    now = response.headers.get("ETag") or response.headers.get("Last-Modified")
    ranged = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if tag is not None and now is not None and now != tag:
        raise SourceChanged(f"{shown(url)}: the file has changed since it was begun")
    if response.status == 416 and ranged and ranged[2] == str(start):
        return Stream(_body(response, url, response.content_length or 0), start, now)
    if start and response.status in (412, 416):
        raise SourceChanged(f"{shown(url)}: the file has changed since it was begun")
    _expect(response, (200, 206), url)
    if response.status == 206:
        if not ranged or ranged[1] != str(start):
            raise StagingError(f"{shown(url)}: the server sent another range than it was asked for")
        return Stream(_body(response, url, 0), None if ranged[2] == "*" else int(ranged[2]), now)
    return Stream(_body(response, url, start), response.content_length, now)


async def _body(response: aiohttp.ClientResponse, url: str, skip: int) -> AsyncIterator[bytes]:
    """The body without its first `skip` bytes, as it comes in."""
    with _translated(url):
        async for chunk in response.content.iter_any():
            if skip < len(chunk):
                yield chunk[skip:] if skip else chunk
            skip = max(0, skip - len(chunk))


def _expect(response: aiohttp.ClientResponse, wanted: tuple[int, ...], url: str) -> None:
    status = response.status
    if status in wanted:
        return
    said = f"{shown(url)}: the server answered {status} {response.reason or ''}".rstrip()
    if status in (404, 410):
        raise SourceMissing(said)
    if status in (401, 403, 407):
        raise AccessRefused(f"{said}; the credentials for this host are missing or wrong")
    if status in (408, 425, 429) or status >= 500:
        raise TransferFailed(said)
    raise StagingError(said)


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise TransferFailed(f"{shown(url)}: the server was silent for too long") from error
    except (aiohttp.InvalidURL, aiohttp.TooManyRedirects):
        # Without its cause, which holds the whole URL and the headers.
        raise StagingError(f"{shown(url)}: the server cannot be asked for this") from None
    except (aiohttp.ClientError, OSError) as error:
        raise TransferFailed(f"{shown(url)}: {_reason(error)}") from error
    except ValueError as error:
        raise StagingError(f"{shown(url)}: the server cannot be asked for this") from error


def _reason(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return "no trusted TLS connection to the server"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the host name is not known"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"no connection: {error.os_error.strerror}"
    return f"the connection broke ({type(error).__name__})"


def _escaped(url: str) -> str:
    """What no URL may hold, escaped; everything else stays as it was signed."""
    plain = quote(url, safe="%/:?#[]@!$&'()*+,;=-._~")
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", plain)


def _proxy(scheme: str, host: str) -> str | None:
    if urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(scheme)
