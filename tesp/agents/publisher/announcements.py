"""What the publisher writes and says of what it has done. Pure."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tesp.agents.publisher.records import Heard
from tesp.agents.publisher.rules import Output, Publication
from tesp.bus import Message, Value, prodiguer, tael
from tesp.bus.prodiguer import Producer
from tesp.staging.urls import shown

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:publication")
_DONE, _FAILED = "2100", "2999"
_LONGEST_REASON = 4096


@dataclass(frozen=True, slots=True)
class Copied:
    """An output that is published: where, and what it holds."""

    output: Output
    url: str
    sha256: str


def manifest(
    publication: Publication, task: Mapping[str, Any], heard: Heard, files: Sequence[Copied]
) -> bytes:
    """The list of what was published, as it lies beside it."""
    listed = [
        {
            "url": one.url,
            "path": one.output.path,
            "size": one.output.size,
            "sha256": one.sha256,
            "source": shown(one.output.url),
        }
        for one in files
    ]
    whole = {
        "task": heard.task,
        "name": task.get("name"),
        "tags": task.get("tags") or {},
        "rule": publication.rule,
        "correlation_id": heard.correlation,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": listed,
    }
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class Announcements:
    """What is said on `{prefix}/infrastructure/publications/NAME/status`, NAME being the task's
    name as its own topic has it. Said again it has the same id."""

    prefix: str
    producer: Producer

    def published(self, publication: Publication, task: Mapping[str, Any], heard: Heard) -> Message:
        """All outputs of a publication are there."""
        said: dict[str, Value] = {
            "rule": publication.rule,
            "manifest": publication.manifest,
            "directory": publication.directory,
            "files": len(publication.outputs),
            "bytes": sum(one.size for one in publication.outputs),
            "announce": False,
            "status": "finished",
        }
        return self._message(heard, task.get("name"), said, publication.manifest, _DONE)

    def failed(self, heard: Heard, name: str | None, reason: str) -> Message:
        """It was the last try."""
        said: dict[str, Value] = {
            "reason": reason[:_LONGEST_REASON],
            "tries": heard.tries,
            "announce": True,
            "status": "failed",
        }
        # Tried again by hand, it may fail again: that is another message.
        return self._message(heard, name, said, f"failed {time.time()}", _FAILED)

    def _message(
        self, heard: Heard, name: str | None, said: Mapping[str, Value], what: str, code: str
    ) -> Message:
        message = Message(
            f"{self.prefix}/infrastructure/publications/{tael.who(name)}/status",
            {"task": heard.task, "name": name, **said},
            str(uuid.uuid5(_NAMESPACE, f"{heard.task}/{what}")),
            time.time(),
            heard.correlation,
            heard.hops + 1,
        )
        return prodiguer.addressed(message, self.producer, code, heard.task)
