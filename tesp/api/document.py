"""The OpenAPI document of the TES paths, under both prefixes."""

from typing import Any

from tesp.api.dialects import dialects
from tesp.api.extensions import TAG, batch_paths, event_paths
from tesp.api.operations import idempotency_key, operation, origin, with_tag
from tesp.api.queries import DEFAULT_PAGE_SIZE, MOST_PAGE_SIZE
from tesp.api.schemas import Schema, reference, schemas
from tesp.api.waiting import MOST_SECONDS
from tesp.tes.views import View

_SECONDS = {"type": "number", "minimum": 0, "maximum": MOST_SECONDS}
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
        {"name": TAG, "description": "Beyond TES: many tasks in one request, events"},
        {"name": "Operations"},
        *document.get("tags", []),
    ]
    document["paths"] = {
        **_paths(current.prefix, "TaskService", ""),
        **_paths(older.prefix, "TaskService for older clients", "V1"),
        **batch_paths(current.prefix),
        **event_paths(),
        "/healthz": {"get": _health()},
        "/metrics": {"get": _metrics()},
        "/queues": {"get": _queues()},
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
        for described in methods.values():
            described["tags"] = [tag]
            described["operationId"] += suffix
    return operations


def _service_info() -> Schema:
    return operation("GetServiceInfo", "What the service is", reference("tesServiceInfo"))


def _legacy_service_info() -> Schema:
    schema = reference("tesLegacyServiceInfo")
    return operation("GetLegacyServiceInfo", "What the service is, as of TES 1.0", schema)


def _health() -> Schema:
    described = operation("GetHealth", "Whether the process answers", reference("Health"))
    return {**described, "tags": ["Operations"]}


def _metrics() -> Schema:
    described = operation("GetMetrics", "Figures for Prometheus", {"type": "string"}, 503)
    described["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return {**described, "tags": ["Operations"]}


def _queues() -> Schema:
    summary = "What waits for sinks and in brokers' queues, and who takes it"
    described = operation("GetQueues", summary, reference("QueueReport"), 503)
    return {**described, "tags": ["Operations"]}


def _list() -> Schema:
    described = operation(
        "ListTasks", "Tasks, newest first", reference("tesListTasksResponse"), 400, 503
    )
    text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    size = {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_PAGE_SIZE,
        "default": DEFAULT_PAGE_SIZE,
    }
    described["parameters"] = [
        _query("name_prefix", "How the name begins, literally", text),
        _query("state", "The state", reference("tesState")),
        _query("tag_key", "A tag that is there; several must all be there", texts),
        _query("tag_value", "The value of the tag_key at the same place; empty: any", texts),
        _query("page_size", "Tasks on a page", size),
        _query("page_token", "The next_page_token of the page before", text),
        _view(),
    ]
    return with_tag(described)


def _create() -> Schema:
    described = operation(
        "CreateTask",
        "Make a task; it is durably kept when this answers",
        reference("tesCreateTaskResponse"),
        *(400, 409, 413, 503),
    )
    key = idempotency_key("The same key gives the same task for 24 hours")
    described["parameters"] = [key, *origin()]
    content = {"schema": reference("tesTask"), "example": _EXAMPLE}
    described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _get() -> Schema:
    views = {"anyOf": [reference("tesTask"), reference("tesTaskState")]}
    described = operation("GetTask", "One task", views, 400, 404, 503)
    described["parameters"] = [
        _id(),
        _view(),
        _query("wait", "Answer when the task has ended, or after so many seconds", _SECONDS),
        _query("since", "With wait: answer when the state is another", reference("tesState")),
    ]
    described["responses"]["200"]["headers"] = {
        "Tesp-Wait": {"description": "The most seconds to wait", "schema": {"type": "integer"}}
    }
    return with_tag(described)


def _cancel() -> Schema:
    schema = reference("tesCancelTaskResponse")
    described = operation("CancelTask", "End a task", schema, 404, 503)
    return {**described, "parameters": [_id()]}


def _query(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _id() -> Schema:
    return {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}


def _view() -> Schema:
    schema = {"type": "string", "enum": [*map(str, View)], "default": str(View.MINIMAL)}
    return _query("view", "How much of a task is shown", schema)
