"""Transfers that break on the way, over real connections that are cut."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from tesp.errors import SourceChanged, SourceMissing, TransferFailed
from tesp.settings import FileRoot, HostAccess, S3Access, StagingSettings
from tesp.staging import Stream
from tesp.staging.file import FileStorage
from tesp.staging.resume import Reading
from tesp.staging.storages import Storages
from tesp.staging.transfer import read
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server

CONTENT = os.urandom(5_000_000)
CUTS = [1_000_000, 1_500_000, 700_000]


@asynccontextmanager
async def storages(
    *s3: S3Access,
    ftp: tuple[HostAccess, ...] = (),
    files: Path | None = None,
    tries: int = 3,
    silence: float = 20,
) -> AsyncIterator[Storages]:
    """`silence`: after so many seconds of it a try has failed."""
    roots = (FileRoot(path=files),) if files else ()
    settings = StagingSettings(s3=s3, ftp=ftp, files=roots, tries=tries, timeout_seconds=silence)
    made = Storages(settings)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def http_proxy(http_server: HttpServer) -> Iterator[CuttingProxy]:
    with CuttingProxy(http_server.port) as proxy:
        yield proxy


@pytest.fixture
def s3_proxy(s3_server: S3Server) -> Iterator[CuttingProxy]:
    with CuttingProxy(s3_server.port) as proxy:
        yield proxy


def alice(server: FtpServer) -> tuple[HostAccess, ...]:
    access = {"host": f"127.0.0.1:{server.port}", "username": "alice", "password": "a-password"}
    return (HostAccess.model_validate(access),)


async def whole(made: Storages, url: str) -> bytes:
    return b"".join([chunk async for chunk in read(made, url)])


async def test_http_goes_on_at_the_byte_where_it_was_cut(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_proxy.cut_down += CUTS
    async with storages() as made:
        assert await whole(made, f"{http_proxy.url}/file") == CONTENT
    asked = [int(r[2].strip("bytes=-")) for r in http_server.requests if r[2]]
    assert len(asked) == len(CUTS)
    assert asked == sorted(asked)
    assert asked[0] > CUTS[0] - 100_000
    assert http_proxy.down < len(CONTENT) + 200_000


async def test_progress_makes_the_tries_count_anew(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_proxy.cut_down += [500_000] * 8
    async with storages(tries=2) as made:
        assert await whole(made, f"{http_proxy.url}/file") == CONTENT


async def test_tries_without_progress_are_bounded(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_proxy.cut_down += [1_000_000] + [0] * 20
    async with storages(tries=3) as made:
        with pytest.raises(TransferFailed, match="after 3 tries without progress"):
            await whole(made, f"{http_proxy.url}/file")
    # Three tries; the client library may connect twice for one of them.
    assert 3 <= http_proxy.connections <= 6


async def test_a_server_without_ranges_sends_again_what_is_then_skipped(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_server.ranges = False
    http_proxy.cut_down += [1_000_000]
    async with storages() as made:
        assert await whole(made, f"{http_proxy.url}/file") == CONTENT


async def test_a_source_without_a_tag_is_not_gone_on_with(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_server.tags = False
    http_proxy.cut_down += [1_000_000]
    async with storages() as made:
        with pytest.raises(TransferFailed, match="broke"):
            await whole(made, f"{http_proxy.url}/file")
    assert http_proxy.connections == 1


async def test_http_refuses_a_file_that_changed_between_cuts(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    path = http_server.directory / "file"
    path.write_bytes(CONTENT)
    http_proxy.cut_down += [1_000_000]
    async with storages() as made:
        await _changed_midway(made, f"{http_proxy.url}/file", path)


async def test_a_body_cut_short_by_the_server_is_found_out(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_proxy.cut_down += [3_000_000] + [0] * 20
    async with storages(tries=2) as made:
        with pytest.raises(TransferFailed):
            await whole(made, f"{http_proxy.url}/file")


async def test_a_silent_http_server_is_given_up(
    http_server: HttpServer, http_proxy: CuttingProxy
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_proxy.stall_after(1_000_000)
    async with storages(tries=2, silence=1) as made:
        with pytest.raises(TransferFailed, match="silent for too long"):
            await whole(made, f"{http_proxy.url}/file")


async def test_a_server_error_is_tried_again_and_a_missing_file_is_not(
    http_server: HttpServer,
) -> None:
    http_server.answers["/busy"] = 503
    async with storages(tries=3) as made:
        with pytest.raises(TransferFailed, match="503"):
            await whole(made, f"{http_server.url}/busy")
        assert len(http_server.requests) == 3
        with pytest.raises(SourceMissing):
            await whole(made, f"{http_server.url}/missing")
        assert len(http_server.requests) == 4


async def test_ftp_goes_on_at_the_byte_where_it_was_cut(ftp_server: FtpServer) -> None:
    (ftp_server.directory / "file").write_bytes(CONTENT)
    ftp_server.cut_down += CUTS
    async with storages(ftp=alice(ftp_server)) as made:
        assert await whole(made, f"{ftp_server.url}/file") == CONTENT
    assert ftp_server.commands.count("REST") == len(CUTS)


async def test_ftp_refuses_a_file_that_changed_between_cuts(ftp_server: FtpServer) -> None:
    path = ftp_server.directory / "file"
    path.write_bytes(CONTENT)
    ftp_server.cut_down += [1_000_000]
    async with storages(ftp=alice(ftp_server)) as made:
        await _changed_midway(made, f"{ftp_server.url}/file", path)


async def test_a_silent_ftp_server_is_given_up(ftp_server: FtpServer) -> None:
    with CuttingProxy(ftp_server.port, "ftp") as proxy:
        proxy.stall()
        async with storages(tries=2, silence=1) as made:
            with pytest.raises(TransferFailed, match="silent for too long"):
                await whole(made, f"{proxy.url}/file")


async def test_s3_goes_on_at_the_byte_where_it_was_cut(
    s3_server: S3Server, s3_bucket: str, s3_proxy: CuttingProxy
) -> None:
    s3_server.client().put_object(Bucket=s3_bucket, Key="file", Body=CONTENT)
    s3_proxy.cut_down += CUTS
    async with storages(s3_server.access(s3_proxy.url)) as made:
        assert await whole(made, f"s3://{s3_bucket}/file") == CONTENT
    assert s3_proxy.connections > len(CUTS)
    assert s3_proxy.down < len(CONTENT) + 3_500_000


async def test_s3_refuses_an_object_that_changed_between_cuts(
    s3_server: S3Server, s3_bucket: str, s3_proxy: CuttingProxy
) -> None:
    client = s3_server.client()
    client.put_object(Bucket=s3_bucket, Key="file", Body=CONTENT)
    s3_proxy.cut_down += [2_500_000]
    async with storages(s3_server.access(s3_proxy.url)) as made:
        chunks = Reading(made, f"s3://{s3_bucket}/file").chunks()
        async with aclosing(chunks):
            await anext(chunks)
            client.put_object(Bucket=s3_bucket, Key="file", Body=CONTENT[::-1])
            with pytest.raises(SourceChanged):
                [chunk async for chunk in chunks]


async def test_a_silent_s3_server_is_given_up(
    s3_server: S3Server, s3_bucket: str, s3_proxy: CuttingProxy
) -> None:
    s3_server.client().put_object(Bucket=s3_bucket, Key="file", Body=CONTENT)
    s3_proxy.stall_after(1_000_000)
    async with storages(s3_server.access(s3_proxy.url), tries=2, silence=1) as made:
        with pytest.raises(TransferFailed):
            await whole(made, f"s3://{s3_bucket}/file")


async def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    async with storages(files=tmp_path) as made:
        chunks = Reading(made, str(path)).chunks()
        async with aclosing(chunks):
            await anext(chunks)
            path.write_bytes(CONTENT[::-1])
            with pytest.raises(SourceChanged):
                [chunk async for chunk in chunks]


async def _changed_midway(made: Storages, url: str, path: Path) -> None:
    """Begin to read, replace the file by one as large, and see the rest refused."""
    chunks = Reading(made, url).chunks()
    async with aclosing(chunks):
        await anext(chunks)
        other = path.with_name("other")
        other.write_bytes(CONTENT[::-1])
        # As large and as old: only what names the version tells them apart.
        other.replace(path)
        with pytest.raises(SourceChanged):
            [chunk async for chunk in chunks]


async def test_a_stream_that_ends_too_early_without_a_word_is_gone_on_with(
    tmp_path: Path,
) -> None:
    class Short(FileStorage):
        """Ends each stream after a megabyte, as if that were all."""

        @asynccontextmanager
        async def open(
            self, url: str, start: int = 0, tag: str | None = None
        ) -> AsyncIterator[Stream]:
            async with super().open(url, start, tag) as stream:
                yield Stream(first(stream.chunks), stream.size, stream.tag)

    class Others(Storages):
        def of(self, url: str) -> FileStorage:
            return Short([FileRoot(path=tmp_path)])

    async def first(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield await anext(chunks)

    (tmp_path / "file").write_bytes(CONTENT)
    assert await whole(Others(StagingSettings()), str(tmp_path / "file")) == CONTENT
