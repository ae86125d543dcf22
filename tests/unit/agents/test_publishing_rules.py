"""What of a task is published, and where, by the rules alone."""

from typing import Any

import pytest

from tesp.agents.publisher.rules import folder, publications
from tesp.settings import PublishingRule


def task(*paths: str, **more: Any) -> dict[str, Any]:
    outputs = [{"url": f"s3://w{p}", "path": p, "size_bytes": "3"} for p in paths]
    logs = [{"outputs": [{"url": "s3://old", "path": "/x", "size_bytes": "1"}]}]
    found = {"id": "t1", "name": "align one", "tags": {"project": "genomes"}}
    return {**found, "logs": [*logs, {"outputs": outputs}], **more}


def rule(**keys: Any) -> PublishingRule:
    return PublishingRule(**{"name": "r", "to": "s3://b/p/", **keys})


def test_outputs_of_the_last_attempt_go_below_a_directory_of_their_task() -> None:
    (found,) = publications([rule(tag="project", outputs="/out/*.bam")], task("/out/a.bam", "/b"))
    (one,) = found.outputs
    assert found.url(one) == "s3://b/p/genomes/t1/out/a.bam"
    assert found.manifest == "s3://b/p/genomes/t1/manifest.json"


@pytest.mark.parametrize(
    ("keys", "is_meant"),
    [
        ({}, True),
        ({"tag": "project"}, True),
        ({"tag": "project", "value": "genomes"}, True),
        ({"tag": "project", "value": "other"}, False),
        ({"tag": "owner"}, False),
        ({"name_prefix": "align"}, True),
        ({"name_prefix": "sort"}, False),
        ({"outputs": "*.bam"}, False),
    ],
)
def test_all_that_a_rule_says_must_hold(keys: dict[str, Any], is_meant: bool) -> None:
    assert bool(publications([rule(**keys)], task("/out/a.txt"))) == is_meant


@pytest.mark.parametrize("more", [{"logs": None}, {"logs": []}, {"logs": [{}]}, {"tags": None}])
def test_a_task_without_outputs_or_tags_publishes_what_it_has(more: dict[str, Any]) -> None:
    found = publications([rule()], task("/a/b", **more))
    assert bool(found) == ("tags" in more)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("align-1.2", "align-1.2"),
        (None, "tasks"),
        ("../../etc", "_.._etc-"),
        ("..", "-"),
        ("a/b", "a_b-"),
        ("a b", "a_b-"),
        ("x" * 300, "x" * 100 + "-"),
    ],
)
def test_a_folder_never_leads_elsewhere_and_is_told_from_others(
    name: str | None, safe: str
) -> None:
    made = folder(rule(), {"name": name})
    assert made.startswith(safe) or made == safe
    assert "/" not in made
    assert made not in (".", "..")
    assert made != folder(rule(), {"name": f"{name}-"})
