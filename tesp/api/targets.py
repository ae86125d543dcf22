"""Which URL of a task a file of its job comes from, or goes to. Pure.

Raises StagingError where there is none: names that lead elsewhere, outputs that the task has not.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tesp.dispatch.uploads import url_of
from tesp.errors import SourceMissing, StagingError
from tesp.runner.plan import PUBLISHED_DIR
from tesp.staging.urls import below, escapes
from tesp.tes.braces import base_of
from tesp.tes.models import Output, TaskSubmission
from tesp.tes.paths import is_pattern

_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_PUBLISHED = re.compile(
    rf"(?:^|/){PUBLISHED_DIR}/([0-9]{{1,18}})/([0-9]{{1,18}})/(?:file|below/(.+))", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Target:
    """One file of an output: where it goes, and how large it is; `field` names the output."""

    url: str
    size: int
    field: str


def source_of(task: TaskSubmission, index: int, name: str) -> bytes | str:
    """An input's content, or its URL; with `name`, that of a file below it."""
    inputs = task.inputs or []
    if index >= len(inputs):
        raise SourceMissing(f"the task has {len(inputs)} inputs")
    item = inputs[index]
    if name and escapes(name):
        raise StagingError(f"{name!r} is no name of a file below it")
    if item.content or not item.url:
        if name:
            raise SourceMissing(f"there is no {name!r}: it is a file with content")
        return (item.content or "").encode()
    return below(item.url, name) if name else item.url


def asked_target(task: TaskSubmission, params: Mapping[str, str]) -> Target:
    """What a query (output, name, size) means."""
    output, size = params.get("output", ""), params.get("size", "")
    if not (_NUMBER.fullmatch(output) and _NUMBER.fullmatch(size)):
        raise StagingError("the query must say output=NUMBER and size=BYTES")
    return _target(task, int(output), int(size), params.get("name", ""))


def published_target(task: TaskSubmission, path: str) -> Target:
    """What the path of a published file (published/OUTPUT/SIZE/...) means."""
    match = _PUBLISHED.search(path)
    if match is None or match.end() != len(path):
        raise StagingError(f"{path!r} is no path of a published file")
    return _target(task, int(match[1]), int(match[2]), match[3] or "")


def _target(task: TaskSubmission, index: int, size: int, name: str) -> Target:
    outputs = task.outputs or []
    if index >= len(outputs):
        raise StagingError(f"there is no outputs[{index}]: the task has {len(outputs)}")
    output = outputs[index]
    if name and escapes(name):
        raise StagingError(f"{name!r} is no name of a file below outputs[{index}]")
    if not name and _has_many(output):
        raise StagingError(f"each file of outputs[{index}] has a name, and none is given")
    return Target(url_of(output, name), size, f"outputs[{index}]")


def _has_many(output: Output) -> bool:
    return is_pattern(output.path) or base_of(output.path, output.url) is not None
