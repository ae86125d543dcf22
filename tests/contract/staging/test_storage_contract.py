"""What every storage promises, against a real peer of its kind."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tesp.errors import AccessRefused, SourceChanged, SourceMissing, StagingError, UnsupportedUrl
from tesp.settings import FileRoot, HostAccess
from tesp.staging import Chunks, Storage
from tesp.staging.file import FileStorage
from tesp.staging.ftp import FtpStorage
from tesp.staging.http import HttpStorage
from tesp.staging.s3 import S3Storage
from tesp.staging.urls import below
from tests.peers.certificates import Certificate
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server

CONTENT = os.urandom(100_000)
LARGE = os.urandom(20 << 20)
NAMES = [
    "with space",
    "100%25 done",
    "50%",
    "größe-文.txt",
    "a+b",
    "a#b",
    "a?b",
    "a&b=c;d",
    "quote'\"s",
    "[x]{y}",
    "back\\slash",
    "~tilde@at:colon,comma",
    ".hidden",
    "-dash",
]


@dataclass
class Place:
    """A storage, a directory URL that it can write to, and another way to see what is there."""

    storage: Storage
    base: str
    look: Callable[[str], bytes | None]
    names: Callable[[], set[str]]
    refused: tuple[Storage, str] | None = None


def _below(directory: Path) -> Callable[[], set[str]]:
    return lambda: {str(p.relative_to(directory)) for p in directory.rglob("*") if not p.is_dir()}


def _reader(directory: Path) -> Callable[[str], bytes | None]:
    def look(name: str) -> bytes | None:
        path = directory / name
        return path.read_bytes() if path.is_file() else None

    return look


def _file_place(tmp_path: Path) -> Place:
    root = tmp_path / "root"
    root.mkdir()
    storage = FileStorage([FileRoot(path=root)])
    return Place(storage, root.as_uri(), _reader(root), _below(root))


def _bare_place(tmp_path: Path) -> Place:
    place = _file_place(tmp_path)
    return Place(place.storage, str(tmp_path / "root"), place.look, place.names)


def _host(server_url: str, **access: str) -> list[HostAccess]:
    host = server_url.partition("://")[2]
    return [HostAccess.model_validate({"host": host, **access})]


@pytest.fixture
def http_place(tmp_path: Path) -> Iterator[Place]:
    directory = tmp_path / "served"
    directory.mkdir()
    with HttpServer(directory, "alice", "a-password") as server:
        right = HttpStorage(_host(server.url, username="alice", password="a-password"), 5)
        wrong = HttpStorage(_host(server.url, username="alice", password="guessed"), 5)
        yield Place(
            right, f"{server.url}", _reader(directory), _below(directory), (wrong, server.url)
        )


def _ftp(tmp_path: Path, certificate: Certificate | None) -> Iterator[Place]:
    directory = tmp_path / "served"
    directory.mkdir()
    pem = certificate.path if certificate else None
    tls = certificate.client() if certificate else None
    with FtpServer(directory, "alice", "a-password", pem) as server:
        right = FtpStorage(_host(server.url, username="alice", password="a-password"), 5, tls)
        wrong = FtpStorage(_host(server.url, username="alice", password="guessed"), 5, tls)
        yield Place(right, server.url, _reader(directory), _below(directory), (wrong, server.url))


@pytest.fixture
def ftp_place(tmp_path: Path) -> Iterator[Place]:
    yield from _ftp(tmp_path, None)


@pytest.fixture
def ftps_place(tmp_path: Path, certificate: Certificate) -> Iterator[Place]:
    yield from _ftp(tmp_path, certificate)


@pytest.fixture
def s3_place(s3_server: S3Server, s3_bucket: str) -> Place:
    client = s3_server.client()

    def names() -> set[str]:
        listed = client.list_objects_v2(Bucket=s3_bucket).get("Contents", [])
        return {found["Key"] for found in listed}

    def look(name: str) -> bytes | None:
        if name not in names():
            return None
        found: bytes = client.get_object(Bucket=s3_bucket, Key=name)["Body"].read()
        return found

    return Place(S3Storage([s3_server.access()], 5), f"s3://{s3_bucket}", look, names)


KINDS = ["file", "bare", "http", "ftp", "ftps", "s3"]


@pytest.fixture(params=KINDS)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    made = {"file": _file_place, "bare": _bare_place}
    if request.param in made:
        found = made[request.param](tmp_path)
    else:
        found = request.getfixturevalue(f"{request.param}_place")
    yield found
    await found.storage.close()
    if found.refused:
        await found.refused[0].close()


def chunks(content: bytes, piece: int = 30_000) -> Chunks:
    async def start() -> AsyncIterator[bytes]:
        for at in range(0, len(content), piece):
            yield content[at : at + piece]

    return start


async def whole(storage: Storage, url: str, start: int = 0, tag: str | None = None) -> bytes:
    async with storage.open(url, start, tag) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


async def test_what_is_put_is_there_and_can_be_opened(place: Place) -> None:
    url = below(place.base, "file")
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    assert place.look("file") == CONTENT
    assert await whole(place.storage, url) == CONTENT


async def test_a_file_of_many_parts_arrives_whole(place: Place) -> None:
    url = below(place.base, "large")
    await place.storage.put(url, chunks(LARGE, 1 << 20), len(LARGE))
    assert place.look("large") == LARGE
    assert await whole(place.storage, url) == LARGE


async def test_size_and_tag_are_told(place: Place) -> None:
    url = below(place.base, "file")
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    async with place.storage.open(url) as stream:
        assert stream.size == len(CONTENT)
        assert stream.tag


async def test_a_file_opens_from_an_offset(place: Place) -> None:
    url = below(place.base, "file")
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    async with place.storage.open(url) as stream:
        tag = stream.tag
    assert await whole(place.storage, url, 70_001, tag) == CONTENT[70_001:]
    async with place.storage.open(url, 70_001, tag) as stream:
        assert (stream.size, stream.tag) == (len(CONTENT), tag)


async def test_another_version_than_the_tag_is_refused(place: Place) -> None:
    url = below(place.base, "file")
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    async with place.storage.open(url) as stream:
        tag = stream.tag
    await place.storage.put(url, chunks(CONTENT[::-1]), len(CONTENT))
    with pytest.raises(SourceChanged):
        await whole(place.storage, url, 70_001, tag)


async def test_a_put_over_a_file_takes_its_place(place: Place) -> None:
    url = below(place.base, "file")
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    await place.storage.put(url, chunks(b"new"), 3)
    assert place.look("file") == b"new"


async def test_an_empty_file_is_a_file(place: Place) -> None:
    url = below(place.base, "empty")
    await place.storage.put(url, chunks(b""), 0)
    assert place.look("empty") == b""
    assert await whole(place.storage, url) == b""


async def test_what_is_not_there_is_missing(place: Place) -> None:
    with pytest.raises(SourceMissing):
        await whole(place.storage, below(place.base, "not/there"))


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_stays_what_it_is(place: Place, name: str) -> None:
    url = below(place.base, f"dir/{name}")
    place.storage.check(url, writing=True)
    await place.storage.put(url, chunks(CONTENT), len(CONTENT))
    assert place.look(f"dir/{name}") == CONTENT
    assert await whole(place.storage, url) == CONTENT
    if place.storage.lists:
        entries = [entry async for entry in place.storage.list(below(place.base, "dir"))]
        assert [(e.name, e.url) for e in entries] == [(name, url)]


async def test_a_listing_names_all_files_at_any_depth(place: Place) -> None:
    names = {"top/a", "top/b/c", "top/b/d/e", "top/b2", "topper"}
    for name in names:
        await place.storage.put(below(place.base, name), chunks(b"1234"), 4)
    if not place.storage.lists:
        with pytest.raises(UnsupportedUrl, match="give each file an input of its own"):
            [entry async for entry in place.storage.list(below(place.base, "top"))]
        return
    for url in (below(place.base, "top"), below(place.base, "top") + "/"):
        entries = {e.name: e async for e in place.storage.list(url)}
        assert set(entries) == {"a", "b/c", "b/d/e", "b2"}
        assert {e.size for e in entries.values()} == {4}
        assert await whole(place.storage, entries["b/d/e"].url) == b"1234"


async def test_a_listing_of_a_file_or_of_nothing_is_empty(place: Place) -> None:
    if not place.storage.lists:
        return
    await place.storage.put(below(place.base, "file"), chunks(b"x"), 1)
    for name in ("file", "nothing"):
        assert [e async for e in place.storage.list(below(place.base, name))] == []


@pytest.mark.parametrize("size", [50_000, 12 << 20])
async def test_a_put_whose_source_fails_leaves_nothing(place: Place, size: int) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield LARGE[: size // 2]
        raise SourceMissing("the source failed")

    with pytest.raises(SourceMissing, match="the source failed"):
        await place.storage.put(below(place.base, "half"), failing, size)
    assert place.names() == set()


@pytest.mark.parametrize("size", [50_000, 12 << 20])
@pytest.mark.parametrize("off_by", [-1, 1])
async def test_a_put_of_another_size_than_said_leaves_nothing(
    place: Place, size: int, off_by: int
) -> None:
    with pytest.raises(StagingError, match="came instead of"):
        await place.storage.put(
            below(place.base, "odd"), chunks(LARGE[: size + off_by], 1 << 20), size
        )
    assert place.names() == set()


async def test_wrong_credentials_are_refused_without_a_word_of_them(place: Place) -> None:
    if place.refused is None:
        return
    storage, base = place.refused
    await place.storage.put(below(base, "file"), chunks(CONTENT), len(CONTENT))
    written = f"{base.partition('://')[0]}://alice:mistyped@{base.partition('://')[2]}"
    for url in (below(base, "file"), below(written, "file")):
        with pytest.raises(AccessRefused) as refused:
            await whole(storage, url)
        assert "guessed" not in str(refused.value)
        assert "mistyped" not in str(refused.value)
        with pytest.raises(AccessRefused):
            await storage.put(url, chunks(LARGE, 1 << 20), len(LARGE))


async def test_credentials_in_the_url_are_used(place: Place) -> None:
    if place.refused is None:
        return
    storage, base = place.refused
    await place.storage.put(below(base, "file"), chunks(CONTENT), len(CONTENT))
    written = f"{base.partition('://')[0]}://alice:a-password@{base.partition('://')[2]}"
    assert await whole(storage, below(written, "file")) == CONTENT


async def test_a_reader_may_leave_early(place: Place) -> None:
    url = below(place.base, "large")
    await place.storage.put(url, chunks(LARGE, 1 << 20), len(LARGE))
    async with place.storage.open(url) as stream, aclosing(stream.chunks) as source:  # type: ignore[type-var]
        assert await anext(source)
    assert await whole(place.storage, url) == LARGE
