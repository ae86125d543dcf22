"""The schemas of the OpenAPI document, out of the models that the API really uses."""

from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from tesp.api.figures import QueueReport
from tesp.api.service import LegacyServiceInfo, ServiceInfo
from tesp.tes.models import CreatedTask, Task, TaskList
from tesp.tes.states import State

Schema = dict[str, Any]
_REFERENCE = "#/components/schemas/"


class TaskState(BaseModel):
    """A task in the view MINIMAL."""

    id: str
    state: State


class Nothing(BaseModel):
    """The answer to a cancel."""


class FieldProblem(BaseModel):
    """One thing wrong with a request."""

    field: str = Field(description="Where, such as `inputs[0].url`")
    message: str = Field(description="What is wrong, and the mend")


class ProblemDetails(BaseModel):
    """Every error has this shape (RFC 9457)."""

    status: int
    title: str
    detail: str
    errors: list[FieldProblem] | None = None


class Health(BaseModel):
    """The process answers."""

    status: Literal["ok"]


# As the specification names them, so that generated clients are alike.
NAMES = {
    "Task": "tesTask",
    "TaskState": "tesTaskState",
    "TaskList": "tesListTasksResponse",
    "CreatedTask": "tesCreateTaskResponse",
    "Nothing": "tesCancelTaskResponse",
    "Executor": "tesExecutor",
    "ExecutorLog": "tesExecutorLog",
    "Input": "tesInput",
    "Output": "tesOutput",
    "OutputFileLog": "tesOutputFileLog",
    "Resources": "tesResources",
    "State": "tesState",
    "TaskLog": "tesTaskLog",
    "ServiceInfo": "tesServiceInfo",
    "ServiceType": "tesServiceType",
    "LegacyServiceInfo": "tesLegacyServiceInfo",
}
_MODELS: tuple[type[BaseModel], ...] = (
    Task,
    TaskState,
    TaskList,
    CreatedTask,
    Nothing,
    ServiceInfo,
    LegacyServiceInfo,
    ProblemDetails,
    Health,
    QueueReport,
)
# What pydantic leaves untranslated where a validator stands before the bound.
_BOUNDS = {"ge": "minimum", "le": "maximum"}
_SET_BY_SERVER = ("id", "state", "logs", "creation_time")
_ABSOLUTE = {"pattern": "^/", "description": "An absolute path of the container"}
_REFINED: dict[tuple[str, str], Schema] = {
    ("tesTask", "executors"): {"minItems": 1, "description": "Run one after another"},
    ("tesExecutor", "command"): {"minItems": 1, "description": "The program and its arguments"},
    ("tesExecutor", "image"): {"pattern": r"^[^\s\-]\S*$", "description": "A container image"},
    ("tesInput", "path"): _ABSOLUTE,
    ("tesOutput", "path"): _ABSOLUTE,
    ("tesInput", "url"): {"description": "Required unless there is content, ignored beside it"},
    ("tesOutput", "path_prefix"): {
        "description": "Required where the path holds wildcards: what is cut off the matches' paths"
    },
    ("tesResources", "backend_parameters"): {
        "description": "service-info lists the keys; their case is no matter"
    },
    ("tesListTasksResponse", "next_page_token"): {"description": "Only while there is more"},
}


def reference(name: str) -> Schema:
    """A reference to a schema by its name in the document."""
    return {"$ref": f"{_REFERENCE}{name}"}


def schemas() -> dict[str, Schema]:
    """All schemas by name."""
    pairs = [(model, "validation") for model in _MODELS]
    _, made = models_json_schema(pairs, ref_template=f"{_REFERENCE}{{model}}")  # type: ignore[arg-type]
    named = {NAMES.get(name, name): _renamed(schema) for name, schema in made["$defs"].items()}
    for (name, field), refinement in _REFINED.items():
        named[name]["properties"][field].update(refinement)
    _as_client_sets_it(named["tesTask"])
    named["tesTaskLog"]["required"] = ["logs", "outputs"]  # empty, but never left out
    views = {"anyOf": [reference("tesTask"), reference("tesTaskState")]}
    named["tesListTasksResponse"]["properties"]["tasks"]["items"] = views
    return named


def _as_client_sets_it(task: Schema) -> None:
    """One schema serves both ways, as in the specification."""
    task["required"] = ["executors"]
    for field in _SET_BY_SERVER:
        task["properties"][field] = {**task["properties"][field], "readOnly": True}


def _renamed(schema: Any) -> Any:
    """The schema in our names, its bounds as JSON Schema has them, and without titles."""
    if isinstance(schema, list):
        return [_renamed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: v for k, v in schema.items() if k != "title" or not isinstance(v, str)}
    if isinstance(target := kept.get("$ref"), str):
        name = target.removeprefix(_REFERENCE)
        kept["$ref"] = _REFERENCE + NAMES.get(name, name)
    return {_BOUNDS.get(key, key): _renamed(value) for key, value in kept.items()}
