"""Outputs found through the mounts, links resolved as the container sees them."""

import os
import socket
from pathlib import Path

import pytest

from tesp.runner.files import Tree
from tesp.runner.outputs import Manifest, collect
from tesp.runner.plan import Mount, Output
from tesp.runner.spots import Refused, Uncovered, open_regular


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that the container sees as /data, in the current workspace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roots" / "0").mkdir(parents=True)
    (tmp_path / "roots" / "1").mkdir(parents=True)
    return tmp_path / "roots" / "0"


MOUNTS = [Mount("roots/0", "/data", True), Mount("roots/1", "/else/where", True)]


def look(*outputs: Output, mounts: list[Mount] = MOUNTS) -> Manifest:
    return collect(Tree(mounts), outputs)


def named(manifest: Manifest) -> dict[str, str]:
    return {f.path: f.name for f in manifest.found}


def test_a_file_a_directory_and_nothing_are_found_out(root: Path) -> None:
    (root / "d" / "e").mkdir(parents=True)
    (root / "d" / "e" / "f").write_text("12345")
    (root / "empty").mkdir()
    manifest = look(
        Output("/data/d/e/f", type="FILE"),
        Output("/data/d", type="FILE"),
        Output("/data/none"),
        Output("/data/empty"),
        Output("/outside"),
    )
    assert manifest.types == ["FILE", "DIRECTORY", None, "DIRECTORY", None]
    assert manifest.missing == [2, 4]
    assert [(f.output, f.path, f.file, f.size, f.name) for f in manifest.found] == [
        (0, "/data/d/e/f", "roots/0/d/e/f", 5, ""),
        (1, "/data/d/e/f", "roots/0/d/e/f", 5, "e/f"),
    ]


def test_wildcards_are_expanded_and_a_matching_directory_gives_its_files(root: Path) -> None:
    for name in ("a.txt", "b.txt", ".c.txt", "sub/d.txt", "sub.txt/e", "sub.txt/.f"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("x")
    manifest = look(Output("/data/*.txt", prefix="/data", pattern=True))
    assert named(manifest) == {
        "/data/a.txt": "a.txt",
        "/data/b.txt": "b.txt",
        "/data/sub.txt/.f": "sub.txt/.f",
        "/data/sub.txt/e": "sub.txt/e",
    }
    deeper = look(Output("/d*/s*/d.txt", prefix="/data/sub", pattern=True))
    assert named(deeper) == {"/data/sub/d.txt": "d.txt"}
    nothing = look(Output("/data/*.none", prefix="/data", pattern=True))
    assert (nothing.types, nothing.missing) == ([None], [0])


def test_a_link_that_stays_inside_is_followed_and_its_file_is_free_of_links(root: Path) -> None:
    (root / "real").mkdir()
    (root / "real" / "f").write_text("x")
    (root / "relative").symlink_to("real/f")
    (root / "absolute").symlink_to("/data/real")
    (root / "across").symlink_to("../else/where/g")
    (root.parent / "1" / "g").write_text("y")
    manifest = look(
        Output("/data/relative"),
        Output("/data/absolute"),
        Output("/data/across"),
        Output("/data/absolute/f"),
    )
    assert [f.file for f in manifest.found] == [
        "roots/0/real/f",
        "roots/0/real/f",
        "roots/1/g",
        "roots/0/real/f",
    ]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../etc/passwd", "/", "/data2", "loop"])
def test_a_link_out_is_refused_and_does_not_hide_other_outputs(root: Path, target: str) -> None:
    (root / "loop").symlink_to("loop")
    (root / "out").symlink_to(target)
    (root / "own").write_text("x")
    manifest = look(Output("/data/out/x"), Output("/data/own"))
    assert [f.path for f in manifest.found] == ["/data/own"]
    assert len(manifest.refused) == 1
    assert "/data/out" in manifest.refused[0]


def test_a_link_out_inside_a_directory_refuses_that_output(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "own").write_text("x")
    (root / "d" / "out").symlink_to("/etc/hostname")
    manifest = look(Output("/data/d"))
    assert manifest.found == []
    assert "/d/out" in manifest.refused[0]


def test_a_link_to_nothing_is_missing_or_left_out_with_a_warning(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "dangling").symlink_to("nothing")
    manifest = look(Output("/data/d/dangling"), Output("/data/d"))
    assert manifest.missing == [0]
    assert "dangling" in manifest.warnings[0]


def test_a_link_to_a_directory_above_is_followed_once(root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / "f").write_text("x")
    (root / "d" / "up").symlink_to("..")
    manifest = look(Output("/data/d"))
    assert [f.name for f in manifest.found] == ["f"]
    assert "leads back" in manifest.warnings[0]


@pytest.mark.parametrize(("kind", "word"), [("fifo", "named pipe"), ("socket", "socket")])
def test_what_is_no_regular_file_is_refused_alone_and_left_out_of_a_directory(
    root: Path, kind: str, word: str
) -> None:
    (root / "f").write_text("x")
    if kind == "fifo":
        os.mkfifo(root / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("roots/0/odd")
    manifest = look(Output("/data/odd"), Output("/data"))
    assert word in manifest.refused[0]
    assert [f.path for f in manifest.found] == ["/data/f"]
    assert word in manifest.warnings[0]


def test_a_name_that_is_not_utf8_is_refused_and_one_with_a_line_feed_is_not(root: Path) -> None:
    (root / "a\nb").write_text("x")
    assert [f.name for f in look(Output("/data")).found] == ["a\nb"]
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("x")
    assert "caf\\xe9" in look(Output("/data")).refused[0]


def test_a_mount_inside_another_hides_what_is_below_it(root: Path, tmp_path: Path) -> None:
    (root / "in").mkdir()
    (root / "in" / "hidden").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "seen").write_text("x")
    mounts = [*MOUNTS, Mount(str(tmp_path / "other"), "/data/in")]
    manifest = look(Output("/data"), mounts=mounts)
    assert [(f.name, f.file) for f in manifest.found] == [
        ("in/seen", str((tmp_path / "other" / "seen").resolve()))
    ]


def test_a_file_mount_is_an_output_too(root: Path, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("x")
    manifest = look(Output("/single/file"), mounts=[Mount("one", "/single/file")])
    assert [f.file for f in manifest.found] == ["one"]


def test_the_opener_takes_regular_files_and_follows_no_link(root: Path, tmp_path: Path) -> None:
    (root / "f").write_text("x")
    (root / "link").symlink_to("f")
    (tmp_path / "dir").symlink_to("roots")
    os.mkfifo(root / "pipe")
    with open_regular(str(tmp_path), "roots/0/f") as file:
        assert file.read() == b"x"
    with open_regular(str(tmp_path), str(root.resolve() / "f")) as file:
        assert file.read() == b"x"
    for name in ("roots/0/link", "dir/0/f", "roots/0/pipe", "roots/0", "../x", ""):
        with pytest.raises(Refused):
            open_regular(str(tmp_path), name)
    for name in ("roots/0/none", "roots/0/f/below"):
        with pytest.raises(FileNotFoundError):
            open_regular(str(tmp_path), name)


def test_a_file_is_created_with_its_parents_but_not_through_a_link_out(
    root: Path, tmp_path: Path
) -> None:
    tree = Tree([*MOUNTS, Mount("roots/1", "/fixed", False)])
    with tree.create("/data/a/b/out") as file:
        file.write(b"x")
    assert (root / "a" / "b" / "out").read_bytes() == b"x"
    with tree.create("/data/a/b/out"):
        pass
    assert (root / "a" / "b" / "out").read_bytes() == b""
    (root / "away").symlink_to(tmp_path)
    (root / "self").symlink_to("a")
    with tree.create("/data/self/inside") as file:
        file.write(b"y")
    assert (root / "a" / "inside").read_bytes() == b"y"
    for path, error in (
        ("/data/away/x", Refused),
        ("/fixed/x", Refused),
        ("/nowhere/x", Uncovered),
        ("/data/a", Refused),
    ):
        with pytest.raises(error):
            tree.create(path)
    assert not (tmp_path / "x").exists()


def test_alternatives_are_looked_for_where_no_file_has_that_very_name(root: Path) -> None:
    for name in ("x.bam", "x.bai", "{a,b}", "a"):
        (root / name).write_text("x")
    output = Output("/data/*.{bam,bai,cram}", "/data", pattern=True)
    assert sorted(named(look(output)).values()) == ["x.bai", "x.bam"]
    assert list(named(look(Output("/data/{a,b}", "/data", pattern=True))).values()) == ["{a,b}"]


def test_a_link_on_the_way_to_a_mount_s_source_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real" / "d").mkdir(parents=True)
    (tmp_path / "real" / "d" / "f").write_text("x")
    (tmp_path / "link").symlink_to("real")
    for place, found in (("real", 1), ("link", 0)):
        manifest = look(Output("/in/f"), mounts=[Mount(str(tmp_path / place / "d"), "/in")])
        assert (len(manifest.found), len(manifest.refused)) == (found, 1 - found)
