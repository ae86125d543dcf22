"""A mapping against a model, and what is wrong with it in sentences that mend it."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from tesp.errors import SettingsError

_UNKNOWN = "extra_forbidden"
# What pydantic says in words of Python.
_IN_PLAIN_WORDS = {
    "model_type": "this must be a table",
    "mapping_type": "this must be a table",
    "dict_type": "this must be a table",
    "tuple_type": "this must be a list",
    "missing": "this key must be set",
}

M = TypeVar("M", bound=BaseModel)


def checked(model: type[M], data: Mapping[str, Any]) -> M:
    """The model of a mapping; raises SettingsError that names every wrong key, never a value."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for one in error.errors(include_input=False, include_url=False):
            place, message = _complaint(model, one["loc"], one["type"], one["msg"])
            found.setdefault(place, []).append(message)
        # A value that fits none of several kinds is told of once for each of them.
        sentences = (_sentence(place, messages) for place, messages in found.items())
        raise SettingsError("; ".join(sentences)) from None


def nearest(model: type[BaseModel], key: str) -> str | None:
    """The key of the model that was meant: the same one further in, or one much like it."""
    inside = [path for path in _paths(model) if path.rpartition(".")[2] == key]
    near = difflib.get_close_matches(key, model.model_fields, 1, 0.4)
    return next(iter([*inside, *near]), None)


def _sentence(place: str, messages: list[str]) -> str:
    said = " or ".join(dict.fromkeys(messages))
    return f"{place}: {said}" if place else said


def _complaint(
    model: type[BaseModel], loc: tuple[int | str, ...], kind: str, message: str
) -> tuple[str, str]:
    known = list(_known(model, loc))
    if kind != _UNKNOWN:
        said = _IN_PLAIN_WORDS.get(kind, message.removeprefix("Value error, "))
        return ".".join(str(part) for part, _ in known), said
    # The key was looked for in the model of what comes last before it.
    inner = next((m for _, m in reversed(known) if m), model)
    near = nearest(inner, str(loc[-1]))
    hint = f"; did you mean {near}?" if near else ""
    return ".".join(map(str, loc)), f"no such setting{hint}"


def _known(
    model: type[BaseModel], loc: tuple[int | str, ...]
) -> Iterator[tuple[int | str, type[BaseModel] | None]]:
    """The parts of a place as far as the model has them, each with the model inside it.

    What follows a field without a model is pydantic's name for one of its kinds.
    """
    inside: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, str):
            if inside is None or part not in inside.model_fields:
                return
            inside = _model_in(inside.model_fields[part].annotation)
        yield part, inside


def _model_in(kind: Any) -> type[BaseModel] | None:
    """The model that a field holds: itself, one or nothing, or many."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next(filter(None, map(_model_in, get_args(kind))), None)


def _paths(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield above + name
        inside = _model_in(field.annotation)
        if inside:
            yield from _paths(inside, f"{above}{name}.")
