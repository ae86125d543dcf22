"""What the OpenAPI document says of the paths beyond TES: batches."""

from tesp.api.batches import MOST_IDS, MOST_TASKS
from tesp.api.operations import idempotency_key, operation
from tesp.api.schemas import Schema, reference
from tesp.tes.views import View

TAG = "Extensions"
_TASK = {"executors": [{"image": "alpine:3.20", "command": ["true"]}]}


def batch_paths(prefix: str) -> dict[str, Schema]:
    """The paths of many tasks in one request."""
    return {
        f"{prefix}/tasks:batch": {"post": _create()},
        f"{prefix}/tasks:batchGet": {"post": _get()},
    }


def _create() -> Schema:
    tasks = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST_TASKS,
        "items": {},
        "description": "Each a tesTask, judged on its own: one that is refused stops no other",
    }
    made = {"anyOf": [reference("tesCreateTaskResponse"), _error()]}
    return {
        **operation(
            "CreateTasks",
            "Make many tasks; those with an id are durably kept when this answers",
            _tasks(made),
            *(400, 409, 413, 503),
        ),
        "tags": [TAG],
        "parameters": [idempotency_key("The same key gives the same tasks for 24 hours")],
        "requestBody": _body({"tasks": tasks}, ["tasks"], {"tasks": [_TASK, _TASK]}),
    }


def _get() -> Schema:
    names = {"type": "array", "minItems": 1, "maxItems": MOST_IDS, "items": {"type": "string"}}
    view = {"type": "string", "enum": [*map(str, View)], "default": str(View.MINIMAL)}
    shown = {"anyOf": [reference("tesTask"), reference("tesTaskState"), _error()]}
    return {
        **operation("GetTasks", "Many tasks by id, in that order", _tasks(shown), 400, 413, 503),
        "tags": [TAG],
        "requestBody": _body({"ids": names, "view": view}, ["ids"], {"ids": ["id-1", "id-2"]}),
    }


def _error() -> Schema:
    return {
        "type": "object",
        "required": ["error"],
        "properties": {"error": reference("ProblemDetails")},
    }


def _tasks(item: Schema) -> Schema:
    return {
        "type": "object",
        "required": ["tasks"],
        "properties": {"tasks": {"type": "array", "items": item}},
    }


def _body(properties: Schema, required: list[str], example: Schema) -> Schema:
    schema = {"type": "object", "required": required, "properties": properties}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"required": True, "content": content}
