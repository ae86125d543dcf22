"""The workspace on a local directory."""

import os
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tesp.errors import AccessRefused, DiskFull, SourceMissing, TransferFailed
from tesp.staging.directory import DirectoryWorkspace


async def sending(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def content(workspace: DirectoryWorkspace, file: str) -> bytes:
    async with workspace.open(file) as stream:
        return b"".join([chunk async for chunk in stream.chunks])


def names(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*")}


@pytest.fixture
def workspace(tmp_path: Path) -> DirectoryWorkspace:
    root = tmp_path / "workspace"
    root.mkdir()
    return DirectoryWorkspace(root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


async def test_what_is_written_can_be_read(workspace: DirectoryWorkspace) -> None:
    pieces = [os.urandom(700_000) for _ in range(9)] + [b"", b"end"]
    whole = b"".join(pieces)
    assert await workspace.write("inputs/0/file", sending(*pieces)) == len(whole)
    assert await content(workspace, "inputs/0/file") == whole
    async with workspace.open("inputs/0/file") as stream:
        assert stream.size == len(whole)


async def test_a_container_of_any_user_can_read_files_and_fill_directories(
    workspace: DirectoryWorkspace,
) -> None:
    before = os.umask(0o077)
    try:
        await workspace.write("inputs/0/file", sending(b"x"))
        await workspace.make_directory("roots/0/deep")
    finally:
        os.umask(before)

    def mode(file: str) -> int:
        return stat.S_IMODE((workspace.root / file).stat().st_mode)

    assert [mode("inputs/0/file"), mode("inputs/0")] == [0o644, 0o755]
    assert [mode("roots/0"), mode("roots/0/deep")] == [0o777, 0o777]


async def test_a_directory_may_be_made_twice(workspace: DirectoryWorkspace) -> None:
    await workspace.make_directory("roots/0")
    await workspace.make_directory("roots/0")


@pytest.mark.parametrize("file", ["../out", "/etc/x", "a/../../x", "", "a//b", "./a", "a\0b"])
async def test_a_path_that_is_not_plainly_below_is_refused(
    workspace: DirectoryWorkspace, file: str
) -> None:
    with pytest.raises(AccessRefused):
        await workspace.write(file, sending(b"x"))
    with pytest.raises(AccessRefused):
        await workspace.make_directory(file)
    with pytest.raises(AccessRefused):
        await content(workspace, file)


async def test_a_link_is_never_followed(workspace: DirectoryWorkspace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (workspace.root / "link").symlink_to(outside)
    (workspace.root / "file").symlink_to(outside / "secret")
    with pytest.raises(AccessRefused, match="link"):
        await content(workspace, "link/secret")
    with pytest.raises(AccessRefused, match="link"):
        await content(workspace, "file")
    with pytest.raises(AccessRefused, match="link"):
        await workspace.write("link/new", sending(b"x"))
    with pytest.raises(AccessRefused, match="link"):
        await workspace.make_directory("link/new")
    assert names(outside) == {"secret"}


async def test_a_link_in_the_place_of_a_file_is_replaced_and_not_written_through(
    workspace: DirectoryWorkspace, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("as it was")
    (workspace.root / "file").symlink_to(tmp_path / "victim")
    await workspace.write("file", sending(b"new"))
    assert (tmp_path / "victim").read_text() == "as it was"
    assert await content(workspace, "file") == b"new"


async def test_a_fifo_is_refused_at_once(workspace: DirectoryWorkspace) -> None:
    os.mkfifo(workspace.root / "fifo")
    with pytest.raises(AccessRefused, match="not a regular file"):
        await content(workspace, "fifo")


async def test_what_is_no_file_is_missing(workspace: DirectoryWorkspace) -> None:
    (workspace.root / "directory").mkdir()
    for file in ("nothing", "directory", "nothing/at/all"):
        with pytest.raises(SourceMissing):
            await content(workspace, file)


async def test_a_source_that_breaks_leaves_nothing_and_what_was_there(
    workspace: DirectoryWorkspace,
) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield os.urandom(3 << 20)
        raise TransferFailed("broken")

    await workspace.write("file", sending(b"before"))
    with pytest.raises(TransferFailed, match="broken"):
        await workspace.write("file", breaking())
    assert names(workspace.root) == {"file"}
    assert await content(workspace, "file") == b"before"


async def test_a_full_disk_is_said_and_nothing_is_left(small_disk: Path) -> None:
    workspace = DirectoryWorkspace(small_disk)
    with pytest.raises(DiskFull, match="no room left"):
        await workspace.write("file", sending(*[os.urandom(1 << 20)] * 6))
    assert names(small_disk) == set()
    assert await workspace.free_bytes() == 4 << 20
