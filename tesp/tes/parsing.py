"""From the bytes of a request to a TaskSubmission; what is wrong is told by field and mend."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import pydantic_core
from pydantic import ValidationError

from tesp.errors import InvalidTask, Problem
from tesp.tes.models import Document, TaskSubmission

D = TypeVar("D", bound=Document)

# Each value may cost an error message of its own: a small body of nothing but mistakes would
# otherwise take gigabytes.
MOST_VALUES = 100_000
_MOST_PROBLEMS = 100

_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number, such as 2",
    "int_from_float": "must be a whole number, such as 2",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}


def parse(body: bytes) -> TaskSubmission:
    """The task in a request's body; raises InvalidTask with every problem found."""
    if values_at_most(body) > MOST_VALUES and _values(_json(body)) > MOST_VALUES:
        raise _invalid(f"holds more than {MOST_VALUES} values; make it several tasks")
    return validated(TaskSubmission, body)


def validated(kind: type[D], body: bytes) -> D:
    """A document in a request's body; raises InvalidTask with every problem found."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise InvalidTask([_problem(e) for e in found[:_MOST_PROBLEMS]]) from None


def _problem(error: Mapping[str, Any]) -> Problem:
    context = error.get("ctx", {})
    if error["type"] == "json_invalid":
        return Problem("body", f"is not JSON: {context['error']}")
    message = _MESSAGES.get(error["type"])
    if message is None:
        return Problem(_path(error["loc"]), error["msg"].removeprefix("Value error, "))
    return Problem(_path(error["loc"]), message.format_map(context))


def _path(place: tuple[int | str, ...]) -> str:
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "body"


def values_at_most(body: bytes) -> int:
    """More than the JSON values in `body` can be, without reading it."""
    return body.count(b",") + body.count(b"[") + body.count(b"{") + 1


def _json(body: bytes) -> Any:
    try:
        return pydantic_core.from_json(body, cache_strings=False)
    except ValueError as error:
        raise _invalid(f"is not JSON: {error}") from None


def _values(data: Any) -> int:
    """How many values there are, counted no further than needed."""
    total, left = 0, [data]
    while left and total <= MOST_VALUES:
        children = list(_children(left.pop()))
        total += len(children)
        left.extend(c for c in children if isinstance(c, dict | list))
    return total


def _children(data: Any) -> Iterator[Any]:
    return iter(data.values() if isinstance(data, dict) else data if isinstance(data, list) else ())


def _invalid(message: str) -> InvalidTask:
    return InvalidTask([Problem("body", message)])
