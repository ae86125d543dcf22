"""What the OpenAPI document says of the paths beyond TES: batches, events."""

from tesp.api.batches import MOST_IDS, MOST_TASKS
from tesp.api.operations import idempotency_key, operation, origin
from tesp.api.schemas import Schema, reference
from tesp.tes.views import View

TAG = "Extensions"
_STREAM = "text/event-stream"
_SEQUENCE: Schema = {"type": "integer", "minimum": 0}
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
        "parameters": [
            idempotency_key("The same key gives the same tasks for 24 hours"),
            *origin(),
        ],
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


def event_paths() -> dict[str, Schema]:
    """The paths of events as they come."""
    stream = operation(
        "FollowEvents",
        "Every change of a task's state as it happens, as server-sent events",
        {"type": "string"},
        *(400, 410, 503),
    )
    stream["responses"]["200"]["content"] = {_STREAM: {"schema": {"type": "string"}}}
    header = {"name": "Last-Event-ID", "in": "header", "schema": _SEQUENCE}
    header["description"] = "Go on behind this event; goes before `after`"
    socket = operation(
        "FollowEventsBySocket",
        "The same over WebSocket: one JSON object a message, with its `sequence`",
        {"type": "string"},
        *(400, 410, 503),
    )
    socket["responses"]["101"] = {"description": "It is a WebSocket from here on"}
    del socket["responses"]["200"]
    parameters = _event_filters()
    return {
        "/events": {"get": {**stream, "tags": [TAG], "parameters": [*parameters, header]}},
        "/events/ws": {"get": {**socket, "tags": [TAG], "parameters": parameters}},
    }


def _event_filters() -> list[Schema]:
    texts = {"type": "array", "items": {"type": "string"}}
    states = {"type": "array", "items": reference("tesState")}
    filters: list[tuple[str, str, Schema]] = [
        ("task", "Events of these tasks alone", texts),
        ("state", "Events of these states alone", states),
        ("name_prefix", "Of tasks whose name begins so", {"type": "string"}),
        ("after", "Begin behind this sequence; by default with what comes now", _SEQUENCE),
    ]
    return [
        {"name": name, "in": "query", "description": description, "schema": schema}
        for name, description, schema in filters
    ]


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
