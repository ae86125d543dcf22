"""What of a task is published, and where. Pure."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from tesp.settings import PublishingRule
from tesp.staging.urls import below, escapes

MANIFEST = "manifest.json"
COMPLETE = "COMPLETE"
_NAMELESS = "tasks"
_LONGEST_FOLDER = 100
_NO_SIGN_OF_A_FOLDER = re.compile(r"[^\w.,=@+-]")
_DIGEST_SIGNS = 8


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a task has left: where it is, and what the container called it."""

    url: str
    path: str
    size: int

    @property
    def name(self) -> str:
        """Its path below the task's directory."""
        return "/".join(part for part in self.path.split("/") if part not in ("", "."))


@dataclass(frozen=True, slots=True)
class Publication:
    """The outputs of one task that one rule publishes, below one directory."""

    rule: str
    directory: str
    outputs: tuple[Output, ...]

    def url(self, output: Output) -> str:
        """Where an output goes."""
        return below(self.directory, output.name)

    @property
    def manifest(self) -> str:
        """Where the list of them goes."""
        return below(self.directory, MANIFEST)


def publications(
    rules: Sequence[PublishingRule], task: Mapping[str, Any]
) -> tuple[Publication, ...]:
    """What the rules publish of a task as the service describes it."""
    outputs = _outputs(task)
    found = []
    for rule in rules:
        wanted = tuple(one for one in outputs if fnmatchcase(one.path, rule.outputs))
        if wanted and _is_meant(rule, task):
            directory = below(below(rule.to, folder(rule, task)), str(task["id"]))
            found.append(Publication(rule.name, directory, wanted))
    return tuple(found)


def folder(rule: PublishingRule, task: Mapping[str, Any]) -> str:
    """What a task's directory lies in: named by the rule's tag, else by the task's name. What
    had to be changed for that is told from others by a digest."""
    tags = task.get("tags") or {}
    said = str(tags.get(rule.tag) or "") if rule.tag else ""
    text = said or str(task.get("name") or "") or _NAMELESS
    safe = _NO_SIGN_OF_A_FOLDER.sub("_", text)[:_LONGEST_FOLDER]
    if safe == text and not escapes(safe):
        return safe
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_DIGEST_SIGNS]
    return f"{safe.strip('.')}-{digest}"


def _is_meant(rule: PublishingRule, task: Mapping[str, Any]) -> bool:
    named = str(task.get("name") or "").startswith(rule.name_prefix)
    return named and rule.fits(task.get("tags") or {})


def _outputs(task: Mapping[str, Any]) -> list[Output]:
    """Those of the last attempt."""
    logs = task.get("logs") or [{}]
    return [
        Output(str(one["url"]), str(one["path"]), int(one["size_bytes"]))
        for one in logs[-1].get("outputs") or ()
    ]
