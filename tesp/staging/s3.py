"""s3://bucket/key URLs, at any endpoint. The key is what follows the bucket, as it stands."""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Literal

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from tesp.errors import (
    AccessRefused,
    SourceChanged,
    SourceMissing,
    StagingError,
    TransferFailed,
    UnsupportedUrl,
)
from tesp.settings import S3Access
from tesp.staging import Chunks, Entry, Stream
from tesp.staging.supply import Supply
from tesp.staging.urls import below, shown

_READ_BYTES = 1 << 20
_PART_BYTES = 8 << 20
_IN_FLIGHT_BYTES = 32 << 20
_MOST_PARTS = 10_000
_ANSWER = re.compile(r"(?<=status code: )(\d{3})[ \w]*")
_REASONS = {
    "dns error": "the host name of the endpoint is not known",
    "timed out": "the server was silent for too long",
    "TimedOut": "the server was silent for too long",
    "Connect": "no connection to the endpoint",
}
# A node asks for it just before its use; it is looked at when the transfer begins.
_SIGNED_FOR = timedelta(minutes=15)
_REQUEST_TIMEOUT = timedelta(days=7)


class S3Storage:
    """Objects in S3 and what speaks like it."""

    schemes = frozenset({"s3"})
    lists = True

    def __init__(
        self, access: Sequence[S3Access] = (), timeout_seconds: float = 60.0, tries: int = 5
    ) -> None:
        self._access, self._timeout, self._tries = access, timeout_seconds, tries
        self._stores: dict[tuple[str, int], S3Store] = {}

    def check(self, url: str, *, writing: bool) -> None:
        """Refuse a URL without a bucket, and a key that would not stay what it is."""
        _place(url)

    def locations(self) -> list[str]:
        """The buckets that are named in the settings, or all."""
        named = [f"s3://{a.bucket}" for a in self._access if a.bucket != "*"]
        return named if named and len(named) == len(self._access) else [*named, "s3://"]

    @asynccontextmanager
    async def open(self, url: str, start: int = 0, tag: str | None = None) -> AsyncIterator[Stream]:
        """Open an object from byte `start`; the server itself refuses another version."""
        bucket, key = _object(url)
        options: dict[str, Any] = {"if_match": tag} if tag else {}
        if start:
            options["range"] = {"offset": start}
        with _translated(url):
            found = await obstore.get_async(self._store(bucket, 0), key, options=options)  # type: ignore[arg-type]
        yield Stream(_body(found, url), found.meta["size"], found.meta["e_tag"])

    async def presigned(self, url: str, method: Literal["GET", "PUT"]) -> str | None:
        """A URL for one object that needs no credentials of ours, for a while; None where nodes
        do not reach the endpoint, or there are no credentials to sign with."""
        bucket, key = _object(url)
        access = self._access_of(bucket)
        if not access.nodes_reach_it or access.access_key is None or access.secret_key is None:
            return None
        with _translated(url):
            return await obstore.sign_async(self._store(bucket, 0), method, key, _SIGNED_FOR)

    async def put(self, url: str, chunks: Chunks, size: int) -> None:
        """Store an object: in one request where it is small, else in parts."""
        bucket, key = _object(url)
        store = self._store(bucket, self._tries - 1)
        # A part that breaks is sent again alone; that one can wait for all of its tries.
        silence = self._timeout * (self._tries + 1)
        async with Supply(chunks, size, url, silence) as supply:
            with _translated(url):
                if size <= _PART_BYTES:
                    await obstore.put_async(store, key, await _gathered(supply))
                else:
                    part, at_once = _parts(size)
                    await obstore.put_async(
                        store, key, supply.chunks(), chunk_size=part, max_concurrency=at_once
                    )
        with _translated(url):
            arrived = (await obstore.head_async(store, key))["size"]
        if arrived != size:
            raise TransferFailed(f"{url}: {arrived} bytes arrived instead of {size}")

    async def list(self, url: str) -> AsyncIterator[Entry]:
        """The objects whose keys begin with this one and a slash."""
        bucket, key = _place(url)
        store = self._store(bucket, 0)
        prefix = f"{key.rstrip('/')}/" if key.strip("/") else ""
        with _translated(url):
            async for page in obstore.list(store, prefix=prefix or None):
                for found in page:
                    name = found["path"].removeprefix(prefix)
                    if found["path"].startswith(prefix) and await _is_object(store, found):
                        yield Entry(below(url, name), name, found["size"])

    async def close(self) -> None:
        """Let go of the clients; they end with their connections."""
        self._stores.clear()

    def _store(self, bucket: str, retries: int) -> S3Store:
        if (bucket, retries) not in self._stores:
            self._stores[bucket, retries] = self._client(bucket, retries)
        return self._stores[bucket, retries]

    def _access_of(self, bucket: str) -> S3Access:
        access = next((a for a in self._access if a.bucket == bucket), None)
        return access or next((a for a in self._access if a.bucket == "*"), S3Access())

    def _client(self, bucket: str, retries: int) -> S3Store:
        access = self._access_of(bucket)
        silence = timedelta(seconds=self._timeout)
        return S3Store(
            bucket,
            config=_config(access),  # type: ignore[arg-type]
            client_options={
                "allow_http": True,
                "connect_timeout": silence,
                "read_timeout": silence,
                "timeout": _REQUEST_TIMEOUT,
            },
            retry_config={"max_retries": retries, "retry_timeout": silence * self._tries},
        )


def _config(access: S3Access) -> dict[str, Any]:
    config: dict[str, Any] = {"region": access.region, "virtual_hosted_style_request": False}
    if access.endpoint:
        config["endpoint"] = access.endpoint.rstrip("/")
    if access.access_key is None or access.secret_key is None:
        return config | {"skip_signature": True}
    config["access_key_id"] = access.access_key.get_secret_value()
    config["secret_access_key"] = access.secret_key.get_secret_value()
    if access.session_token is not None:
        config["session_token"] = access.session_token.get_secret_value()
    return config


def _place(url: str) -> tuple[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    if not bucket or "@" in bucket:
        raise UnsupportedUrl(f"{shown(url)}: an S3 URL reads s3://bucket/key")
    if any(part in (".", "..") for part in key.split("/")) or "//" in f"/{key}":
        raise UnsupportedUrl(f"{url}: a key with empty, `.` or `..` parts cannot be reached")
    return bucket, key


def _object(url: str) -> tuple[str, str]:
    bucket, key = _place(url)
    if not key or key.endswith("/"):
        raise SourceMissing(f"{url}: that names a directory, not an object")
    return bucket, key


def _parts(size: int) -> tuple[int, int]:
    """Parts as small as the limit on their number allows; the fewer at once, the larger."""
    part = max(_PART_BYTES, -(-size // _MOST_PARTS))
    return part, max(1, _IN_FLIGHT_BYTES // part)


async def _gathered(supply: Supply) -> bytes:
    return b"".join([chunk async for chunk in supply.chunks()])


async def _body(found: "obstore.GetResult", url: str) -> AsyncIterator[bytes]:
    with _translated(url):
        async for chunk in found.stream(_READ_BYTES):
            yield bytes(chunk)


async def _is_object(store: S3Store, found: "obstore.ObjectMeta") -> bool:
    """Not a directory marker: that one's key ends with a slash, which the listing hides."""
    if found["size"]:
        return True
    try:
        await obstore.head_async(store, found["path"])
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SourceMissing(f"{url}: no such object, or no such bucket") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise AccessRefused(f"{url}: the credentials for this bucket are refused") from error
    except PreconditionError as error:
        raise SourceChanged(f"{url}: the object has changed since it was begun") from error
    except ValueError as error:
        raise StagingError(f"{url}: the storage cannot be asked for this key") from error
    except (BaseError, OSError) as error:
        # Without its cause: some servers echo the signed request, the session token with it.
        raise _failure(str(error), url) from None


def _failure(text: str, url: str) -> StagingError:
    """What obstore gives no class of its own, by the status in its text."""
    answer = _ANSWER.search(text)
    if answer is None:
        reason = next((r for sign, r in _REASONS.items() if sign in text), "the connection broke")
        return TransferFailed(f"{url}: {reason}")
    said = f"{url}: the server answered {answer[0].strip()}"
    status = int(answer[1])
    if status in (401, 403):
        return AccessRefused(f"{said}; the credentials for this bucket are refused")
    if status == 404:
        return SourceMissing(said)
    return TransferFailed(said) if status in (408, 429) or status >= 500 else StagingError(said)
