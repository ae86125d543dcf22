"""What a job's own side has to fetch, found out at real peers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tesp.dispatch.errands import fetches_of
from tesp.errors import AccessRefused, SourceMissing, TransferFailed, UnsupportedUrl
from tesp.runner.plan import Fetch
from tesp.settings import FileRoot, HostAccess, StagingSettings
from tesp.staging import Download, FileType
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server

KEYS = Keys(b"secret" * 6, "http://tesp.test")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
async def storages(
    root: Path, ftp_server: FtpServer, s3_server: S3Server
) -> AsyncIterator[Storages]:
    alice = {"host": "127.0.0.1", "username": "alice", "password": "a-password"}
    made = Storages(
        StagingSettings(
            files=(FileRoot(path=root),),
            ftp=(HostAccess.model_validate(alice),),
            s3=(s3_server.access(),),
            tries=3,
            timeout_seconds=5,
        )
    )
    yield made
    await made.close()


def an_input(number: int, url: str, type: FileType | None = None) -> Download:
    return Download(f"inputs/{number}", f"inputs[{number}]", url, type=type)


def fetch(number: int, name: str = "") -> Fetch:
    """What is to be fetched of an input of task t, attempt 2."""
    file = f"inputs/{number}/{name}" if name else f"inputs/{number}"
    return Fetch(file, KEYS.input_url("t", 2, number, name))


async def found(
    storages: Storages, *downloads: Download
) -> tuple[list[Fetch], dict[str, FileType]]:
    fetches, types = await fetches_of(storages, downloads, KEYS, "t", 2, turns=asyncio.Semaphore(2))
    return sorted(fetches), types


@pytest.fixture
def trees(root: Path, ftp_server: FtpServer, s3_server: S3Server, s3_bucket: str) -> list[str]:
    """The same directory in each storage that can list."""
    names = ["a", "deep/b c"]
    for directory in (root, ftp_server.directory):
        for name in names:
            (directory / "d" / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / "d" / name).write_bytes(b"x")
    for name in names:
        s3_server.client().put_object(Bucket=s3_bucket, Key=f"d/{name}", Body=b"x")
    return [f"file://{root}/d", f"{ftp_server.url}/d", f"s3://{s3_bucket}/d"]


@pytest.mark.parametrize("type", [None, "FILE", "DIRECTORY"])
async def test_a_directory_is_fetched_file_by_file_whatever_it_was_said_to_be(
    storages: Storages, trees: list[str], type: FileType | None
) -> None:
    downloads = [an_input(n, url, type) for n, url in enumerate(trees)]

    fetches, types = await found(storages, *downloads)

    assert fetches == sorted(fetch(n, name) for n in range(3) for name in ("a", "deep/b c"))
    assert types == {f"inputs[{n}]": "DIRECTORY" for n in range(3)}


async def test_files_and_content_are_fetched_by_one_url_each(
    storages: Storages, trees: list[str], http_server: HttpServer
) -> None:
    (http_server.directory / "f").write_bytes(b"x" * 1_000_000)
    content = Download("roots/0/c", "inputs[4]", content="text")
    urls = [f"{tree}/a" for tree in trees] + [f"{http_server.url}/f"]

    fetches, types = await found(
        storages, *(an_input(n, url) for n, url in enumerate(urls)), content
    )

    url = KEYS.input_url("t", 2, 4)
    assert fetches == [*(fetch(n) for n in range(4)), Fetch("roots/0/c", url)]
    assert set(types.values()) == {"FILE"}


async def test_what_is_missing_is_told_with_its_field_before_anything_is_fetched(
    storages: Storages, trees: list[str], http_server: HttpServer
) -> None:
    for url in (*(f"{tree}-not" for tree in trees), f"{http_server.url}/not"):
        with pytest.raises(SourceMissing, match=r"inputs\[1\]: .*not"):
            await found(storages, an_input(0, f"{trees[0]}/a"), an_input(1, url))
    with pytest.raises(SourceMissing, match="empty directory"):
        await found(storages, an_input(0, f"{trees[0]}-not", "DIRECTORY"))


async def test_what_cannot_be_listed_or_read_is_told(
    storages: Storages, http_server: HttpServer
) -> None:
    http_server.answers["/secret"] = 401

    with pytest.raises(UnsupportedUrl, match=r"inputs\[0\]: .*listing"):
        await found(storages, an_input(0, f"{http_server.url}/d", "DIRECTORY"))
    with pytest.raises(AccessRefused, match=r"inputs\[0\]"):
        await found(storages, an_input(0, f"{http_server.url}/secret"))


async def test_a_look_that_breaks_is_taken_again_so_often(
    storages: Storages, trees: list[str], ftp_server: FtpServer
) -> None:
    with CuttingProxy(ftp_server.port, "ftp") as proxy:
        proxy.cut_down = [10, 10]
        fetches, _ = await found(storages, an_input(0, f"{proxy.url}/d", "DIRECTORY"))
        proxy.cut_down = [10, 10, 10]
        with pytest.raises(TransferFailed, match=r"inputs\[0\]"):
            await found(storages, an_input(0, f"{proxy.url}/d/a"))

    assert len(fetches) == 2
    assert len(trees) == 3


async def test_a_task_without_inputs_has_nothing_to_fetch(storages: Storages) -> None:
    assert await found(storages) == ([], {})
