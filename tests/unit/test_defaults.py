"""What a fresh clone starts with."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from tesp.errors import SettingsError
from tesp.settings import Settings, load, parse

_ROOT = Path(__file__).parents[2]


def test_the_settings_file_of_a_fresh_clone_adds_only_the_bucket_of_the_examples() -> None:
    settings = load(_ROOT / "settings.toml", {})
    assert [a.bucket for a in settings.staging.s3] == ["tesp-examples"]
    bare = settings.staging.model_copy(update={"s3": ()})
    assert settings.model_copy(update={"staging": bare}) == load(None, {})


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """The names of all keys, of those in tables too."""
    for name, field in model.model_fields.items():
        yield name
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _keys(kind)


def test_the_settings_file_names_every_key() -> None:
    words = set(re.findall(r"\w+", (_ROOT / "settings.toml").read_text()))
    # What cannot be asked for yet stands in the document alone.
    hidden = {"basic_auth", "oauth", "enable"}
    assert set(_keys(Settings)) - hidden <= words


def test_every_dependency_is_pinned_without_an_address() -> None:
    lines = (_ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines)
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    wanted = project["build-system"]["requires"] + project["project"]["dependencies"]
    for group in project["dependency-groups"].values():
        wanted += group
    named = {w.partition(">")[0].partition("[")[0].lower().replace("_", "-") for w in wanted}
    assert named <= {pin.lower().replace("_", "-") for pin in pins}
    assert all(version[0].isdigit() and "/" not in version for version in pins.values())


@pytest.mark.parametrize("path", ["software", "/", "/opt/../etc"])
def test_what_the_sandbox_shows_beside_usr_is_named_by_a_plain_path(path: str) -> None:
    with pytest.raises(SettingsError, match=r"containers\.sandbox_paths: .*absolute"):
        parse({"containers": {"sandbox_paths": [path]}})


@pytest.mark.parametrize(
    ("roots", "said"),
    [
        ([{"path": "work", "shared": True}], "no absolute path"),
        ([{"path": "/srv/../work", "shared": True}], "no absolute path"),
        ([{"path": "/usr/share", "shared": True}], "image's own"),
        (
            [{"path": "/srv", "shared": True}, {"path": "/srv/locked", "writable": False}],
            "as writable",
        ),
    ],
)
def test_a_shared_root_that_would_break_a_promise_stops_the_start(
    roots: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        parse({"staging": {"files": roots}})


def test_a_root_inside_a_shared_one_may_be_shared_alike() -> None:
    roots = [{"path": "/srv", "shared": True}, {"path": "/srv/more", "shared": True}]
    assert len(parse({"staging": {"files": roots}}).staging.files) == 2
