"""Triggers: which messages start what; and whether the control topic is obeyed."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.errors import InvalidTask
from tesp.settings.patterns import Pattern
from tesp.settings.quantities import Patience
from tesp.settings.section import Section
from tesp.tes import templates
from tesp.tes.parsing import parse

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
# Levels between slashes; a wildcard is a whole level, # the last one.
FILTER = r"^([^+#\x00/]*|\+)(/([^+#\x00/]*|\+))*(/#)?$|^#$"
Scalar = str | int | float | bool
_MOST_FILE_BYTES = 1 << 20


class ConditionSettings(Section):
    """What a field must be; all that is said must hold. A field that is missing never fits."""

    equals: Scalar | None = None
    differs: Scalar | None = None
    one_of: tuple[Scalar, ...] | None = Field(None, min_length=1)
    below: float | None = None
    at_most: float | None = None
    above: float | None = None
    at_least: float | None = None
    matches: str | None = Field(None, description="A pattern (Rust's); ^ and $ tie it to the ends")

    @field_validator("matches")
    @classmethod
    def _is_a_pattern(cls, matches: str | None) -> str | None:
        if matches is not None:
            Pattern(matches)
        return matches

    @model_validator(mode="after")
    def _can_be_met(self) -> "ConditionSettings":
        """By a number: one that is finite, as all in messages are."""
        above, below = _or(self.above, -math.inf), _or(self.below, math.inf)
        least, most = _or(self.at_least, -math.inf), _or(self.at_most, math.inf)
        is_open = above < below and above < most and least < below
        if not (is_open and least <= most and least < math.inf and most > -math.inf):
            raise ValueError("no number is within above, at_least, below and at_most")
        return self


class TriggerSettings(Section):
    """Messages that match start a task, or a command on this machine."""

    name: str = Field(pattern=_NAME)
    topic: str = Field(pattern=FILTER, max_length=1024)
    when: Mapping[str, Scalar | ConditionSettings] = {}
    task: Mapping[str, Any] | None = Field(None, description="A TES task; {field} is filled in")
    task_file: Path | None = Field(None, description="The same as a file of JSON")
    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="Program and arguments; the message is in its environment"
    )
    timeout_seconds: Patience = Field(3600.0, description="The longest that a command may run")
    trusted_only: bool = Field(True, description="Nobody else's messages start anything")
    owner: str = Field("anonymous", min_length=1, description="Whose the tasks are")

    @field_validator("task")
    @classmethod
    def _is_a_template(cls, task: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if task is not None:
            _check(task)
        return task

    @field_validator("task_file")
    @classmethod
    def _holds_a_template(cls, path: Path | None) -> Path | None:
        if path is not None:
            _check(_read(path))
        return path

    @field_validator("command")
    @classmethod
    def _is_fixed(cls, command: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if command and not command[0]:
            raise ValueError("0 is empty, and the program's name belongs there")
        for number, argument in enumerate(command or ()):
            if "\0" in argument:
                raise ValueError(f"{number} holds a NUL character")
            if marks := templates.marks_of(argument):
                variable = f"TAEL_{marks[0].upper()}"
                raise ValueError(
                    f"{number} holds the mark {{{marks[0]}}}, and nothing is filled in there: a "
                    f"message must not become part of a command; it has the variable {variable}"
                )
        return command

    @model_validator(mode="after")
    def _starts_one_thing(self) -> "TriggerSettings":
        said = [k for k in ("task", "task_file", "command") if getattr(self, k) is not None]
        if len(said) != 1:
            raise ValueError("a trigger needs one of task, task_file and command")
        return self

    def template(self) -> Mapping[str, Any] | None:
        """The task's template, where it starts tasks."""
        return _read(self.task_file) if self.task_file else self.task


class ControlSettings(Section):
    """`raise` and `cancel` on the control topics of pipelines."""

    enabled: bool = False
    secret: SecretStr | None = Field(
        None, description="Who says it in the payload is obeyed, and nobody else", min_length=8
    )


def _or(limit: float | None, none: float) -> float:
    return none if limit is None else limit


def _read(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_bytes()
        task = orjson.loads(text) if len(text) <= _MOST_FILE_BYTES else None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(task, dict):
        raise ValueError(f"{path} is no JSON object of {_MOST_FILE_BYTES} bytes or less")  # noqa: TRY004
    return task


def _check(task: Mapping[str, Any]) -> None:
    try:
        parse(orjson.dumps(task))
    except (InvalidTask, TypeError) as error:
        raise ValueError(str(error)) from None
    if wrong := templates.problems(task):
        raise ValueError(str(InvalidTask(wrong)))
