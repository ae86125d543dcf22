"""The OpenAPI document of the TES paths, under both prefixes."""

from typing import Any

from tesp.api.dialects import dialects
from tesp.api.problems import MEDIA_TYPE
from tesp.api.queries import DEFAULT_PAGE_SIZE, MOST_PAGE_SIZE
from tesp.api.schemas import Schema, reference, schemas
from tesp.tes.views import View

_PROBLEMS = {
    400: "The request is wrong; each problem has its field and the mend",
    404: "There is no such task",
    409: "The Idempotency-Key was used with another body",
    413: "The body is too large",
    503: "The store cannot be reached just now",
}
_EXAMPLE = {
    "name": "md5",
    "executors": [
        {"image": "alpine:3.20", "command": ["md5sum", "/data/in"], "stdout": "/data/out"}
    ],
    "inputs": [{"path": "/data/in", "content": "hello"}],
    "resources": {"cpu_cores": 1, "ram_gb": 0.5},
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the TES paths to a document."""
    current, older = dialects(legacy_states=True)
    document["tags"] = [
        {"name": "TaskService", "description": "GA4GH TES 1.1"},
        {"name": "TaskService for older clients", "description": "GA4GH TES as of 1.0"},
        {"name": "Operations"},
        *document.get("tags", []),
    ]
    document["paths"] = {
        **_paths(current.prefix, "TaskService", ""),
        **_paths(older.prefix, "TaskService for older clients", "V1"),
        "/healthz": {"get": _health()},
        **document.get("paths", {}),
    }
    components = document.setdefault("components", {})
    components["schemas"] = {**schemas(), **components.get("schemas", {})}
    return document


def _paths(prefix: str, tag: str, suffix: str) -> dict[str, Schema]:
    operations = {
        f"{prefix}/service-info": {"get": _service_info()},
        f"{prefix}/tasks": {"get": _list(), "post": _create()},
        f"{prefix}/tasks/{{id}}": {"get": _get()},
        f"{prefix}/tasks/{{id}}:cancel": {"post": _cancel()},
        f"{prefix}/tasks/service-info": {"get": _legacy_service_info()},
    }
    for methods in operations.values():
        for operation in methods.values():
            operation["tags"] = [tag]
            operation["operationId"] += suffix
    return operations


def _service_info() -> Schema:
    return _operation("GetServiceInfo", "What the service is", reference("tesServiceInfo"))


def _legacy_service_info() -> Schema:
    schema = reference("tesLegacyServiceInfo")
    return _operation("GetLegacyServiceInfo", "What the service is, as of TES 1.0", schema)


def _health() -> Schema:
    operation = _operation("GetHealth", "Whether the process answers", reference("Health"))
    return {**operation, "tags": ["Operations"]}


def _list() -> Schema:
    operation = _operation(
        "ListTasks", "Tasks, newest first", reference("tesListTasksResponse"), 400, 503
    )
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    size = {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_PAGE_SIZE,
        "default": DEFAULT_PAGE_SIZE,
    }
    operation["parameters"] = [
        _query("name_prefix", "How the name begins, literally", text),
        _query("state", "The state", reference("tesState")),
        _query("tag_key", "A tag that is there; several must all be there", texts),
        _query("tag_value", "The value of the tag_key at the same place; empty: any", texts),
        _query("page_size", "Tasks on a page", size),
        _query("page_token", "The next_page_token of the page before", text),
        _view(),
    ]
    return operation


def _create() -> Schema:
    operation = _operation(
        "CreateTask",
        "Make a task; it is durably kept when this answers",
        reference("tesCreateTaskResponse"),
        *(400, 409, 413, 503),
    )
    key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"}
    operation["parameters"] = [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "The same key gives the same task for 24 hours",
            "schema": key,
        }
    ]
    content = {"schema": reference("tesTask"), "example": _EXAMPLE}
    operation["requestBody"] = {"required": True, "content": {"application/json": content}}
    return operation


def _get() -> Schema:
    views = {"anyOf": [reference("tesTask"), reference("tesTaskState")]}
    operation = _operation("GetTask", "One task", views, 400, 404, 503)
    return {**operation, "parameters": [_id(), _view()]}


def _cancel() -> Schema:
    schema = reference("tesCancelTaskResponse")
    operation = _operation("CancelTask", "End a task", schema, 404, 503)
    return {**operation, "parameters": [_id()]}


def _operation(name: str, summary: str, schema: Schema, *failures: int) -> Schema:
    problem = {MEDIA_TYPE: {"schema": reference("ProblemDetails")}}
    responses: dict[str, Schema] = {
        str(status): {"description": _PROBLEMS[status], "content": problem} for status in failures
    }
    success = {"description": "Done", "content": {"application/json": {"schema": schema}}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": success, **responses},
    }


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _id() -> Schema:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def _view() -> Schema:
    schema = {"type": "string", "enum": [*map(str, View)], "default": str(View.MINIMAL)}
    return _query("view", "How much of a task is shown", schema)
