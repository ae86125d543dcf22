"""URLs: what is accepted, what is said where it is not, and what is never shown."""

from pathlib import Path

import pytest

from tesp.errors import UnsupportedUrl
from tesp.settings import FileRoot, S3Access, StagingSettings
from tesp.staging.storages import Storages
from tesp.staging.urls import below, shown


@pytest.fixture
def storages(tmp_path: Path) -> Storages:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "locked").mkdir()
    roots = (
        FileRoot(path=tmp_path / "open"),
        FileRoot(path=tmp_path / "open" / "locked", writable=False),
        FileRoot(path=tmp_path / "absent"),
    )
    return Storages(StagingSettings(files=roots, s3=(S3Access(bucket="mine"),)))


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("https://alice:secret@host:8/a?X-Amz-Signature=secret", "https://host:8/a?..."),
        ("ftp://alice:secret@[::1]:21/a", "ftp://[::1]:21/a"),
        ("http://host/a@v2", "http://host/a@v2"),
        ("http://alice:se/cret@host/", "http://..."),
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("s3://bucket/a@b", "s3://bucket/a@b"),
        ("/plain/path?x", "/plain/path?x"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, seen: str) -> None:
    assert shown(url) == seen


@pytest.mark.parametrize(
    ("base", "joined"),
    [
        ("http://h/d/?sig=1", "http://h/d/a%20b%23c%25?sig=1"),
        ("ftp://h/d", "ftp://h/d/a%20b%23c%25"),
        ("file:///d/", "file:///d/a%20b%23c%25"),
        ("s3://b/d/", "s3://b/d/a b#c%"),
        ("/d", "/d/a b#c%"),
    ],
)
def test_a_name_below_a_url_is_escaped_as_its_scheme_wants(base: str, joined: str) -> None:
    assert below(base, "a b#c%") == joined


@pytest.mark.parametrize(
    ("url", "mend"),
    [
        ("gs://bucket/key", "gs:// is not supported; use one of file://, ftp://, ftps://, http"),
        ("GS://bucket/key", "gs:// is not supported"),
        ("some/path", "a URL or an absolute path is needed"),
        ("http:///path", "names no host"),
        ("ftp:///path", "names no host"),
        ("http://host:port/x", "cannot be read"),
        ("http://host:0/x", "cannot be read"),
        ("ftp://host/a%0d%0aDELE b", "line end"),
        ("s3:///key", "s3://bucket/key"),
        ("s3://bucket/a/../b", "cannot be reached"),
        ("file://elsewhere/x", "without a host"),
        ("/etc/passwd", "outside the file roots"),
        ("file:///etc/passwd", "outside the file roots"),
    ],
)
def test_a_url_that_can_never_work_is_refused_with_the_mend(
    storages: Storages, url: str, mend: str
) -> None:
    with pytest.raises(UnsupportedUrl, match=mend.replace(".", r"\.")):
        storages.check(url, writing=False)


def test_the_refusal_outside_the_roots_names_the_roots(storages: Storages, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedUrl, match=str(tmp_path / "open")):
        storages.check("/etc/passwd", writing=False)


@pytest.mark.parametrize("path", ["open/../secret", "open/%2e%2e/secret"])
def test_a_path_that_climbs_is_refused(storages: Storages, tmp_path: Path, path: str) -> None:
    with pytest.raises(UnsupportedUrl):
        storages.check(f"file://{tmp_path}/{path}", writing=False)


def test_a_read_only_root_inside_a_writable_one_stays_read_only(
    storages: Storages, tmp_path: Path
) -> None:
    storages.check(f"{tmp_path}/open/x", writing=True)
    storages.check(f"{tmp_path}/open/locked/x", writing=False)
    with pytest.raises(UnsupportedUrl, match="read-only"):
        storages.check(f"{tmp_path}/open/locked/x", writing=True)


def test_a_directory_over_http_is_refused_for_reading_alone(storages: Storages) -> None:
    with pytest.raises(UnsupportedUrl, match="no listing"):
        storages.check("http://host/d/", writing=False, type="DIRECTORY")
    storages.check("http://host/d/", writing=True, type="DIRECTORY")
    storages.check("s3://bucket/d/", writing=False, type="DIRECTORY")


def test_only_roots_that_jobs_reach_themselves_are_advertised(tmp_path: Path) -> None:
    for name in ("copied", "shared", "readable"):
        (tmp_path / name).mkdir()
    roots = (
        FileRoot(path=tmp_path / "copied"),
        FileRoot(path=tmp_path / "shared", shared=True),
        FileRoot(path=tmp_path / "readable", shared=True, writable=False),
        FileRoot(path=tmp_path / "absent", shared=True),
    )
    access = (S3Access(bucket="mine"),)
    locations = Storages(StagingSettings(files=roots, s3=access)).locations()
    files = [location for location in locations if location.startswith("file://")]
    assert files == [f"file://{tmp_path}/shared"]
    assert {"http://", "https://", "ftp://", "ftps://", "s3://mine"} <= set(locations)
    assert "s3://" not in locations
