"""Pieces of the OpenAPI document that its operations share."""

from tesp.api.problems import MEDIA_TYPE
from tesp.api.schemas import Schema, reference
from tesp.bus import MOST_HOPS

_PROBLEMS = {
    400: "The request is wrong; each problem has its field and the mend",
    404: "There is no such task",
    409: "The Idempotency-Key was used with another body, or too many triggers led to this",
    410: "The log is no longer kept from there",
    413: "The body is too large",
    503: "The store cannot be reached just now",
}


def operation(name: str, summary: str, schema: Schema, *failures: int) -> Schema:
    """An operation with its answers; errors have one shape."""
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


def idempotency_key(description: str) -> Schema:
    """The header that makes a POST safe to repeat."""
    pattern = r"^[!-~]([ -~]*[!-~])?$"
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": pattern}
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": description,
        "schema": schema,
    }


def origin() -> list[Schema]:
    """The headers that say what led to a task."""
    pattern = r"^[!-~]([ -~]*[!-~])?$"
    cause = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": pattern}
    hops = {"type": "string", "pattern": f"^[0-{MOST_HOPS}]$"}
    return [
        _header("X-Correlation-ID", "Told with each event; by default the task's id", cause),
        _header("Tesp-Hops", "How many triggers led to this task", hops),
    ]


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "description": description, "schema": schema}


def with_tag(described: Schema) -> Schema:
    """A GET whose answer has a tag, and is not sent again to who has it already."""
    responses = described["responses"]
    tag = {"ETag": {"description": "Changes with the answer", "schema": {"type": "string"}}}
    responses["200"]["headers"] = {**responses["200"].get("headers", {}), **tag}
    responses["304"] = {"description": "The client has this answer already"}
    described["parameters"].append(
        {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of an earlier answer",
            "schema": {"type": "string"},
        }
    )
    return described
