"""The TES 1.1 documents as typed values.

`TaskSubmission` is what a client may set; unknown and server-set fields are dropped on the
way in. Nulls count as unset, and unset fields never go out.
"""

import math
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tesp.tes.states import State

INT32_MAX = 2**31 - 1
FileType = Literal["FILE", "DIRECTORY"]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with `Z`."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 2.0 is the integer 2."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


Count = Annotated[int, BeforeValidator(_whole), Field(strict=True, ge=0, le=INT32_MAX)]
Gigabytes = Annotated[float, BeforeValidator(_finite), Field(ge=0, le=1e9)]


class Document(BaseModel):
    """A part of a TES document."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class Input(Document):
    """A file or directory brought in before the first executor starts."""

    path: str
    url: str | None = None
    content: str | None = None
    type: FileType | None = None
    name: str | None = None
    description: str | None = None
    streamable: bool | None = None


class Output(Document):
    """A file, a directory or a wildcard's matches, sent out at the end."""

    path: str
    url: str
    path_prefix: str | None = None
    type: FileType | None = None
    name: str | None = None
    description: str | None = None


class Executor(Document):
    """One command in one container."""

    image: str
    command: list[str]
    workdir: str | None = None
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    env: dict[str, str] | None = None
    ignore_error: bool | None = None


class Resources(Document):
    """What the task asks for. GB are 10^9 bytes."""

    cpu_cores: Count | None = None
    ram_gb: Gigabytes | None = None
    disk_gb: Gigabytes | None = None
    preemptible: bool | None = None
    zones: list[str] | None = None
    backend_parameters: dict[str, str] | None = None
    backend_parameters_strict: bool | None = None


class TaskSubmission(Document):
    """A task as a client may set it."""

    executors: list[Executor]
    name: str | None = None
    description: str | None = None
    inputs: list[Input] | None = None
    outputs: list[Output] | None = None
    resources: Resources | None = None
    volumes: list[str] | None = None
    tags: dict[str, str] | None = None


class ExecutorLog(Document):
    """How one executor ended."""

    exit_code: int
    start_time: str | None = None
    end_time: str | None = None
    stdout: str | None = None
    stderr: str | None = None


class OutputFileLog(Document):
    """One file that was sent out; the size is a string by the specification."""

    url: str
    path: str
    size_bytes: str


class TaskLog(Document):
    """One attempt."""

    logs: list[ExecutorLog] = []
    outputs: list[OutputFileLog] = []
    metadata: dict[str, str] | None = None
    start_time: str | None = None
    end_time: str | None = None
    system_logs: list[str] | None = None


class Task(TaskSubmission):
    """A task as the server shows it. MINIMAL views hold id and state alone."""

    id: str
    state: State
    creation_time: str | None = None
    logs: list[TaskLog] | None = None


class TaskList(Document):
    """One page of tasks."""

    tasks: list[Task]
    next_page_token: str | None = None


class CreatedTask(Document):
    """The answer to a POST."""

    id: str
