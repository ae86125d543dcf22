"""A workspace is taken by one runner, and whoever looks knows by which."""

import os
from pathlib import Path
from typing import Any

import pytest

from tesp.runner import identity, workspace
from tesp.runner.identity import Owner
from tesp.runner.plan import CLAIM_FILE

HERE = identity.current()
OTHER = HERE._replace(pid=HERE.pid + 1)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*paths: str) -> None:
    """What a file system without links answers."""
    raise PermissionError(1, "Operation not permitted", *paths)


class Interrupted(Owner):
    """While it says who it is, another comes."""

    def _asdict(self) -> dict[str, Any]:
        assert workspace.claim(OTHER)
        assert workspace.claimant() == OTHER
        return HERE._asdict()


def test_who_is_stopped_in_the_middle_of_a_claim_has_none() -> None:
    assert not workspace.claim(Interrupted(*HERE))
    assert workspace.claimant() == OTHER


@pytest.mark.parametrize("links", [True, False])
def test_the_first_has_it_and_nothing_lies_beside(
    here: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refused)
    assert [workspace.claim(one) for one in (HERE, OTHER, HERE)] == [True, False, False]
    assert workspace.claimant() == HERE
    assert [file.name for file in here.iterdir()] == [CLAIM_FILE]


def test_an_empty_claim_that_forbids_a_start_is_nobodys(here: Path) -> None:
    (here / CLAIM_FILE).touch()
    assert not workspace.claim(HERE)
    assert workspace.claimant() is None


def test_a_link_that_was_made_and_is_refused_when_it_is_asked_for_again_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link = os.link

    def twice(*paths: str) -> None:
        link(*paths)
        link(*paths)

    monkeypatch.setattr(os, "link", twice)
    assert workspace.claim(HERE)
    assert workspace.claimant() == HERE
