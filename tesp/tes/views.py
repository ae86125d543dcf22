"""The three views of a task, as JSON text.

What a client may see is kept as ready-made text, FULL and BASIC, and only spliced together
on the way out: no page is parsed and dumped again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from pydantic import TypeAdapter

from tesp.tes.models import TaskLog, TaskSubmission
from tesp.tes.states import State

_ATTEMPTS = TypeAdapter(list[TaskLog])


class View(StrEnum):
    """How much of a task is shown."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of JSON text in both views; `basic` None where it is the same as `full`."""

    full: str
    basic: str | None = None

    def of(self, view: View) -> str:
        """The text for BASIC or FULL."""
        return self.full if view is View.FULL or self.basic is None else self.basic


class TaskText(NamedTuple):
    """A stored task, ready to be shown: `body` and `logs` are empty in MINIMAL.

    `body` is the text of the document's members without braces (never empty otherwise);
    `logs` that of the array of TaskLogs, or empty. `tails` are the live tails of the running
    attempt, as metadata to be (`executor.0.stdout` -> text); in FULL alone.
    """

    id: str
    state: State
    body: str = ""
    logs: str = ""
    tails: Mapping[str, str] = MappingProxyType({})


def render(task: TaskText, state: State | None = None) -> str:
    """The task's JSON text; `state` shows another state in place of the stored one."""
    head = f'{{"id":"{task.id}","state":"{state or task.state}"'
    body = f",{task.body}" if task.body else ""
    logs = f',"logs":{_with_tails(task)}' if task.logs else ""
    return f"{head}{body}{logs}}}"


def _with_tails(task: TaskText) -> str:
    attempts = attempts_of(task.logs) if task.tails else []
    if not attempts:
        return task.logs
    metadata = {**(attempts[-1].metadata or {}), **task.tails}
    attempts[-1] = attempts[-1].model_copy(update={"metadata": metadata})
    return _array(attempts)


def body_text(submission: TaskSubmission, creation_time: str) -> Text:
    """The members of a new task's document."""
    full = _members(submission, creation_time)
    if not any(i.content is not None for i in submission.inputs or ()):
        return Text(full)
    bare = [i.model_copy(update={"content": None}) for i in submission.inputs or ()]
    return Text(full, _members(submission.model_copy(update={"inputs": bare}), creation_time))


def _members(submission: TaskSubmission, creation_time: str) -> str:
    dumped = submission.model_dump_json(exclude_none=True)
    return f'{dumped[1:-1]},"creation_time":"{creation_time}"'


def creation_time_of(body: str) -> str:
    """When the task was made, from its full text."""
    return body.rpartition('"creation_time":"')[2].rstrip('"')


def submission_of(body: str) -> TaskSubmission:
    """The inverse of body_text, from its full text."""
    return TaskSubmission.model_validate_json(f"{{{body}}}")


def tags_of(body: str) -> dict[str, str]:
    """The tags of a task, from the text of any view but MINIMAL."""
    tags: dict[str, str] | None = json.loads(f"{{{body}}}").get("tags")
    return tags or {}


def logs_text(attempts: list[TaskLog]) -> Text:
    """The array of TaskLogs, one an attempt, in both views."""
    return Text(_array(attempts), _array([_basic(a) for a in attempts]))


def attempts_of(logs: str) -> list[TaskLog]:
    """The inverse of logs_text, from its full text; empty text is no attempt yet."""
    return _ATTEMPTS.validate_json(logs) if logs else []


def earlier_logs(logs: Text, number: int) -> Text | None:
    """The logs of the attempts before that number alone; None where there are none."""
    if number <= 1:
        return None
    full, basic = (attempts_of(text)[: number - 1] for text in (logs.full, logs.of(View.BASIC)))
    return Text(_array(full), _array(basic)) if full else None


def _array(attempts: list[TaskLog]) -> str:
    return "[" + ",".join(a.model_dump_json(exclude_none=True) for a in attempts) + "]"


def _basic(attempt: TaskLog) -> TaskLog:
    bare = [e.model_copy(update={"stdout": None, "stderr": None}) for e in attempt.logs]
    return attempt.model_copy(update={"logs": bare, "system_logs": None})
