"""Inputs in, outputs out: between real peers and a real directory."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tesp.errors import AccessRefused, DiskFull, SourceMissing, StagingError, TransferFailed
from tesp.settings import FileRoot, HostAccess, StagingSettings
from tesp.staging import Download, Downloaded, Entry, Upload, Uploaded
from tesp.staging.directory import DirectoryWorkspace
from tesp.staging.file import FileStorage
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.ftp_server import FtpServer
from tests.peers.http_server import HttpServer
from tests.peers.s3_server import S3Server

CONTENT = os.urandom(2_000_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> DirectoryWorkspace:
    path = tmp_path / "workspace"
    path.mkdir()
    return DirectoryWorkspace(path)


@pytest.fixture
async def storages(
    root: Path, ftp_server: FtpServer, s3_server: S3Server
) -> AsyncIterator[Storages]:
    access = {"host": "127.0.0.1", "username": "alice", "password": "a-password"}
    made = Storages(
        StagingSettings(
            files=(FileRoot(path=root),),
            ftp=(HostAccess.model_validate(access),),
            s3=(s3_server.access(),),
            tries=3,
            timeout_seconds=2,
        )
    )
    yield made
    await made.close()


@pytest.fixture
def turns() -> asyncio.Semaphore:
    return asyncio.Semaphore(4)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def files(directory: Path) -> dict[str, bytes]:
    found = [p for p in directory.rglob("*") if p.is_file()]
    return {str(p.relative_to(directory)): p.read_bytes() for p in found}


def tree(directory: Path) -> None:
    (directory / "sub" / "deep").mkdir(parents=True)
    (directory / "a").write_bytes(b"a")
    (directory / "sub" / "b").write_bytes(b"bb")
    (directory / "sub" / "deep" / "c d").write_bytes(b"ccc")


async def test_inputs_of_all_kinds_come_in_order(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    root: Path,
    http_server: HttpServer,
    ftp_server: FtpServer,
    s3_server: S3Server,
    s3_bucket: str,
) -> None:
    tree(root / "tree")
    (http_server.directory / "file").write_bytes(CONTENT)
    (ftp_server.directory / "file").write_bytes(CONTENT)
    s3_server.client().put_object(Bucket=s3_bucket, Key="file", Body=CONTENT)
    downloads = [
        Download("inputs/0", "inputs[0]", content="größe"),
        Download("inputs/1", "inputs[1]", url=f"{root}/tree", type="DIRECTORY"),
        Download("inputs/2", "inputs[2]", url=f"{http_server.url}/file", type="FILE"),
        Download("inputs/3", "inputs[3]", url=f"{ftp_server.url}/file"),
        Download("roots/0/4", "inputs[4]", url=f"s3://{s3_bucket}/file"),
    ]
    done = await stage_in(storages, downloads, workspace, turns)
    size = len(CONTENT)
    one = Downloaded("FILE", 1, size)
    assert done == [Downloaded("FILE", 1, 7), Downloaded("DIRECTORY", 3, 6), one, one, one]
    assert files(workspace.root) == {
        "inputs/0": "größe".encode(),
        "inputs/1/a": b"a",
        "inputs/1/sub/b": b"bb",
        "inputs/1/sub/deep/c d": b"ccc",
        "inputs/2": CONTENT,
        "inputs/3": CONTENT,
        "roots/0/4": CONTENT,
    }


@pytest.mark.parametrize("kind", ["file", "ftp", "s3"])
@pytest.mark.parametrize("type", [None, "FILE"])
async def test_a_file_that_turns_out_a_directory_comes_as_one(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    root: Path,
    ftp_server: FtpServer,
    s3_server: S3Server,
    s3_bucket: str,
    kind: str,
    type: None,
) -> None:
    tree(root / "tree")
    tree(ftp_server.directory / "tree")
    for name, content in files(root / "tree").items():
        s3_server.client().put_object(Bucket=s3_bucket, Key=f"tree/{name}", Body=content)
    base = {"file": f"file://{root}", "ftp": ftp_server.url, "s3": f"s3://{s3_bucket}"}[kind]
    download = Download("in", "inputs[0]", url=f"{base}/tree", type=type)
    assert await stage_in(storages, [download], workspace, turns) == [Downloaded("DIRECTORY", 3, 6)]
    assert files(workspace.root / "in") == files(root / "tree")


async def test_directory_markers_of_s3_are_no_files(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    s3_server: S3Server,
    s3_bucket: str,
) -> None:
    for key, body in (("d/", b""), ("d/sub/", b""), ("d/sub/file", b"x"), ("d/empty", b"")):
        s3_server.client().put_object(Bucket=s3_bucket, Key=key, Body=body)
    download = Download("in", "inputs[0]", url=f"s3://{s3_bucket}/d", type="DIRECTORY")
    await stage_in(storages, [download], workspace, turns)
    assert files(workspace.root) == {"in/sub/file": b"x", "in/empty": b""}


async def test_an_empty_directory_is_an_error_that_says_so(
    storages: Storages, workspace: DirectoryWorkspace, turns: asyncio.Semaphore, root: Path
) -> None:
    (root / "empty").mkdir()
    download = Download("in", "inputs[0]", url=f"{root}/empty", type="DIRECTORY")
    with pytest.raises(SourceMissing, match="empty directory"):
        await stage_in(storages, [download], workspace, turns)


async def test_a_missing_http_file_stays_missing(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
) -> None:
    download = Download("in", "inputs[0]", url=f"{http_server.url}/nothing")
    with pytest.raises(SourceMissing, match="404"):
        await stage_in(storages, [download], workspace, turns)


@pytest.mark.parametrize("name", ["../escaped", "/absolute", "a/../../b", "a//b", ".."])
async def test_a_listing_that_escapes_is_refused(
    workspace: DirectoryWorkspace, turns: asyncio.Semaphore, root: Path, name: str
) -> None:
    class Hostile(FileStorage):
        async def list(self, url: str) -> AsyncIterator[Entry]:
            yield Entry(f"{root}/file", name, 1)

    class Others(Storages):
        def of(self, url: str) -> FileStorage:
            return Hostile([FileRoot(path=root)])

    (root / "file").write_bytes(b"x")
    download = Download("in", "inputs[0]", url=f"{root}/d", type="DIRECTORY")
    with pytest.raises(AccessRefused, match="outside of itself"):
        await stage_in(Others(StagingSettings()), [download], workspace, turns)
    assert files(workspace.root) == {}


async def test_a_link_out_of_the_root_is_refused(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    root: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_text("secret")
    (root / "d").mkdir()
    (root / "d" / "link").symlink_to(tmp_path / "secret")
    for url, type_ in ((f"{root}/d/link", "FILE"), (f"{root}/d", "DIRECTORY")):
        download = Download("in", "inputs[0]", url=url, type=type_)  # type: ignore[arg-type]
        with pytest.raises(AccessRefused, match="out of the file roots"):
            await stage_in(storages, [download], workspace, turns)
    with pytest.raises(AccessRefused, match="out of the file roots"):
        [entry async for entry in storages.of(str(root)).list(f"{root}/d")]


async def test_links_within_the_root_are_followed_and_loops_end(
    storages: Storages, workspace: DirectoryWorkspace, turns: asyncio.Semaphore, root: Path
) -> None:
    tree(root / "tree")
    (root / "linked").symlink_to(root / "tree" / "a")
    (root / "tree" / "again").symlink_to(root / "tree")
    (root / "tree" / "side").symlink_to(root / "tree" / "sub")
    downloads = [
        Download("one", "inputs[0]", url=f"{root}/linked"),
        Download("all", "inputs[1]", url=f"{root}/tree", type="DIRECTORY"),
    ]
    done = await stage_in(storages, downloads, workspace, turns)
    assert done == [Downloaded("FILE", 1, 1), Downloaded("DIRECTORY", 5, 11)]
    assert files(workspace.root / "all")["side/deep/c d"] == b"ccc"


async def test_inputs_that_do_not_fit_are_refused_before_a_byte_moves(
    storages: Storages,
    turns: asyncio.Semaphore,
    root: Path,
    small_disk: Path,
    http_server: HttpServer,
) -> None:
    with (http_server.directory / "large").open("wb") as large:
        large.truncate(5 << 20)
    workspace = DirectoryWorkspace(small_disk)
    download = Download("in", "inputs[0]", url=f"{http_server.url}/large")
    with pytest.raises(DiskFull, match=r"inputs\[0\]: 5242880 bytes are to come, and 4194304"):
        await stage_in(storages, [download], workspace, turns)
    (root / "d").mkdir()
    for name in "abc":
        (root / "d" / name).write_bytes(bytes(2_000_000))
    directory = Download("in", "inputs[0]", url=f"{root}/d", type="DIRECTORY")
    with pytest.raises(DiskFull, match="6000000 bytes"):
        await stage_in(storages, [directory], workspace, turns)
    assert list(small_disk.iterdir()) == []


async def test_a_source_without_a_tag_is_begun_anew(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
) -> None:
    (http_server.directory / "file").write_bytes(CONTENT)
    http_server.tags = False
    with CuttingProxy(http_server.port) as proxy:
        proxy.cut_down += [1_000_000]
        download = Download("in", "inputs[0]", url=f"{proxy.url}/file")
        await stage_in(storages, [download], workspace, turns)
    assert files(workspace.root) == {"in": CONTENT}


class Counting(DirectoryWorkspace):
    """Counts the writes at once, and tells when the first one has begun."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.now = self.most = 0
        self.begun = asyncio.Event()

    async def write(self, file: str, chunks: AsyncIterator[bytes]) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        self.begun.set()
        try:
            return await super().write(file, chunks)
        finally:
            self.now -= 1


@pytest.mark.parametrize(("turns", "most"), [(1, 1), (2, 2), (50, 4)])
async def test_no_more_transfers_run_at_once_than_there_are_turns(
    storages: Storages, workspace: DirectoryWorkspace, root: Path, turns: int, most: int
) -> None:
    (root / "file").write_bytes(CONTENT)
    counting = Counting(workspace.root)
    downloads = [Download(f"in/{n}", f"inputs[{n}]", url=f"{root}/file") for n in range(12)]
    await stage_in(storages, downloads, counting, asyncio.Semaphore(turns))
    assert len(files(workspace.root)) == 12
    assert counting.most == most


async def test_a_small_input_passes_a_large_one(
    storages: Storages, tmp_path: Path, root: Path
) -> None:
    with (root / "large").open("wb") as large:
        large.truncate(200 << 20)
    (root / "small").write_bytes(b"x")
    turns = asyncio.Semaphore(1)
    ended: list[str] = []
    places = {}
    for name in ("large", "small"):
        (tmp_path / name).mkdir()
        places[name] = Counting(tmp_path / name)

    async def bring(name: str) -> None:
        download = Download("in", "inputs[0]", url=f"{root}/{name}")
        await stage_in(storages, [download], places[name], turns)
        ended.append(name)

    first = asyncio.create_task(bring("large"))
    await places["large"].begun.wait()
    await asyncio.gather(first, bring("small"))
    assert ended == ["small", "large"]


@pytest.mark.parametrize("kind", ["file", "ftp", "s3", "http"])
async def test_outputs_go_out_and_are_told(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    root: Path,
    ftp_server: FtpServer,
    http_server: HttpServer,
    s3_server: S3Server,
    s3_bucket: str,
    kind: str,
) -> None:
    (workspace.root / "out").mkdir()
    (workspace.root / "out" / "a").write_bytes(CONTENT)
    (workspace.root / "out" / "b").write_bytes(b"")
    base = {
        "file": f"file://{root}",
        "ftp": ftp_server.url,
        "s3": f"s3://{s3_bucket}",
        "http": http_server.url,
    }[kind]
    uploads = [
        Upload(f"out/{n}", f"{base}/new/dir/{n}", f"/data/{n}", s, "outputs[0]")
        for n, s in (("a", len(CONTENT)), ("b", 0))
    ]
    told: list[Uploaded] = []
    done = await stage_out(storages, uploads, workspace, turns, told.append)
    assert done == [Uploaded(u.url, u.path, u.size) for u in uploads]
    assert sorted(told, key=lambda u: u.path) == done
    held = {"file": root, "ftp": ftp_server.directory, "http": http_server.directory}
    if kind == "s3":
        body = s3_server.client().get_object(Bucket=s3_bucket, Key="new/dir/a")["Body"]
        assert body.read() == CONTENT
    else:
        assert files(held[kind]) == {"new/dir/a": CONTENT, "new/dir/b": b""}


async def test_one_output_that_fails_keeps_no_other_back(
    storages: Storages, workspace: DirectoryWorkspace, turns: asyncio.Semaphore, root: Path
) -> None:
    (workspace.root / "a").write_bytes(b"a")
    uploads = [
        Upload("missing", f"{root}/missing", "/missing", 1, "outputs[0]"),
        Upload("a", f"{root}/a", "/a", 1, "outputs[1]"),
    ]
    told: list[Uploaded] = []
    with pytest.raises(SourceMissing):
        await stage_out(storages, uploads, workspace, turns, told.append)
    assert files(root) == {"a": b"a"}
    assert [u.path for u in told] == ["/a"]


async def test_an_output_of_another_size_than_said_is_refused(
    storages: Storages, workspace: DirectoryWorkspace, turns: asyncio.Semaphore, root: Path
) -> None:
    (workspace.root / "a").write_bytes(b"abc")
    with pytest.raises(StagingError, match="came instead of 2"):
        await stage_out(
            storages, [Upload("a", f"{root}/a", "/a", 2, "outputs[0]")], workspace, turns
        )
    assert files(root) == {}


async def test_an_upload_over_http_that_is_cut_is_sent_again(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
) -> None:
    (workspace.root / "a").write_bytes(CONTENT)
    with CuttingProxy(http_server.port) as proxy:
        proxy.cut_up += [700_000, 1_200_000]
        upload = Upload("a", f"{proxy.url}/a", "/a", len(CONTENT), "outputs[0]")
        await stage_out(storages, [upload], workspace, turns)
    assert files(http_server.directory) == {"a": CONTENT}


async def test_an_upload_over_ftp_that_is_cut_is_sent_again(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    ftp_server: FtpServer,
) -> None:
    (workspace.root / "a").write_bytes(CONTENT)
    ftp_server.cut_up += [700_000, 1_200_000]
    upload = Upload("a", f"{ftp_server.url}/d/a", "/a", len(CONTENT), "outputs[0]")
    await stage_out(storages, [upload], workspace, turns)
    assert files(ftp_server.directory) == {"d/a": CONTENT}


async def test_an_upload_to_s3_that_is_cut_sends_the_broken_part_again(
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    s3_server: S3Server,
    s3_bucket: str,
) -> None:
    content = os.urandom(40 << 20)
    (workspace.root / "a").write_bytes(content)
    with CuttingProxy(s3_server.port) as proxy:
        proxy.cut_up += [1_000_000, 5_000_000, 30_000_000]
        settings = StagingSettings(s3=(s3_server.access(proxy.url),), timeout_seconds=5)
        made = Storages(settings)
        upload = Upload("a", f"s3://{s3_bucket}/a", "/a", len(content), "outputs[0]")
        await stage_out(made, [upload], workspace, turns)
        await made.close()
        assert proxy.up < 1.6 * len(content)
    assert s3_server.client().get_object(Bucket=s3_bucket, Key="a")["Body"].read() == content


async def test_a_peer_that_takes_nothing_is_given_up(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
) -> None:
    content = os.urandom(30 << 20)
    (workspace.root / "a").write_bytes(content)
    with CuttingProxy(http_server.port) as proxy:
        proxy.stall()
        upload = Upload("a", f"{proxy.url}/a", "/a", len(content), "outputs[0]")
        with pytest.raises(TransferFailed):
            await stage_out(storages, [upload], workspace, turns)
    assert files(http_server.directory) == {}


async def test_a_redirected_upload_goes_where_it_is_sent(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
) -> None:
    (workspace.root / "a").write_bytes(CONTENT)
    http_server.redirects["/door"] = f"{http_server.url}/node/a"
    upload = Upload("a", f"{http_server.url}/door", "/a", len(CONTENT), "outputs[0]")
    await stage_out(storages, [upload], workspace, turns)
    assert files(http_server.directory) == {"node/a": CONTENT}


async def test_credentials_do_not_follow_a_redirect_to_another_host(
    workspace: DirectoryWorkspace, turns: asyncio.Semaphore, tmp_path: Path, http_server: HttpServer
) -> None:
    (tmp_path / "front").mkdir()
    (http_server.directory / "a").write_bytes(CONTENT)
    with HttpServer(tmp_path / "front", "alice", "a-password") as front:
        front.redirects["/a"] = f"{http_server.url}/a"
        front.redirects["/up"] = f"{http_server.url}/up"
        access = {"host": f"127.0.0.1:{front.port}", "username": "alice", "password": "a-password"}
        made = Storages(StagingSettings(http=(HostAccess.model_validate(access),)))
        await stage_in(made, [Download("a", "i", url=f"{front.url}/a")], workspace, turns)
        upload = Upload("a", f"{front.url}/up", "/a", len(CONTENT), "outputs[0]")
        await stage_out(made, [upload], workspace, turns)
        await made.close()
    assert all("Authorization" in headers for headers in front.seen)
    assert not any("Authorization" in headers for headers in http_server.seen)


async def test_the_log_tells_bytes_and_no_secret(
    storages: Storages,
    workspace: DirectoryWorkspace,
    turns: asyncio.Semaphore,
    http_server: HttpServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    (http_server.directory / "file").write_bytes(CONTENT)
    secret = f"http://bob:hidden@127.0.0.1:{http_server.port}/file?X-Signature=hidden"
    await stage_in(storages, [Download("in", "inputs[0]", url=secret)], workspace, turns)
    upload = Upload("in", secret.replace("file?", "up?"), "/a", len(CONTENT), "outputs[0]")
    await stage_out(storages, [upload], workspace, turns)
    assert f"127.0.0.1:{http_server.port}/file?...: 2000000 bytes in" in caplog.text
    assert "sent http://" in caplog.text
    assert "hidden" not in caplog.text


_PASSING = """
import asyncio, resource, sys
from pathlib import Path
from tesp.settings import StagingSettings
from tesp.staging import Download, Upload
from tesp.staging.directory import DirectoryWorkspace
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out

async def main(base, root):
    storages, turns = Storages(StagingSettings()), asyncio.Semaphore(2)
    workspace = DirectoryWorkspace(Path(root))
    await stage_in(storages, [Download("s", "i", url=base + "/small")], workspace, turns)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await stage_in(storages, [Download("l", "i", url=base + "/large")], workspace, turns)
    size = 300 << 20
    await stage_out(storages, [Upload("l", base + "/up", "/l", size, "o")], workspace, turns)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    await storages.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_memory_stays_bounded_while_300_mb_pass(
    http_server: HttpServer, workspace: DirectoryWorkspace
) -> None:
    (http_server.directory / "small").write_bytes(b"x")
    with (http_server.directory / "large").open("wb") as large:
        large.truncate(300 << 20)
    argv = [sys.executable, "-c", _PASSING, http_server.url, str(workspace.root)]
    done = await asyncio.to_thread(
        subprocess.run, argv, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64 * 1024
    assert (http_server.directory / "up").stat().st_size == 300 << 20
