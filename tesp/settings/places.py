"""Where in a model something is, as who wrote the settings would say it. Pure.

Pydantic's own places also name the kinds of value that it tried: `when.m.ConditionSettings.below`
is the key `when.m.below`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

Path = tuple[str, ...]

# Said of a key of a table itself.
_OF_A_KEY = "[key]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the kinds that a value may be of: whose value, and which kind. `is_last`: nothing
    further in is meant."""

    at: Path
    kind: str
    is_last: bool


@dataclass(frozen=True, slots=True)
class Place:
    """The keys that lead there, the model that the last of them is looked for in, and the kinds
    that were tried on the way."""

    path: Path
    table: type[BaseModel]
    choices: tuple[Choice, ...] = ()


def place_of(model: type[BaseModel], loc: Sequence[int | str]) -> Place:
    """What pydantic calls so."""
    place, kind = Place((), model), model
    for left, part in zip(range(len(loc) - 1, -1, -1), map(str, loc), strict=True):
        place, kind = _further(place, kind, part, left == 0)
    return place


def paths(model: type[BaseModel]) -> Iterator[Path]:
    """Of all keys, at every depth; lists have one item."""
    for name, field in model.model_fields.items():
        yield (name,)
        yield from ((name, *path) for path in _paths_in(field.annotation))


def _further(place: Place, kind: Any, part: str, is_last: bool) -> tuple[Place, Any]:
    """The place one part further in, and the kind of what is there."""
    kinds = _kinds(kind)
    if len(kinds) > 1:
        choice = Choice(place.path, part, is_last)
        chosen = next((one for one in kinds if _is_called(one, part)), None)
        return replace(place, choices=(*place.choices, choice)), chosen
    if part == _OF_A_KEY:
        return place, None
    only = kinds[0] if kinds else None
    table = only if _is_model(only) else place.table
    return replace(place, path=(*place.path, part), table=table), _inside(only, part)


def _kinds(kind: Any) -> list[Any]:
    """What a value may be of, but for nothing."""
    if get_origin(kind) is Annotated:
        return _kinds(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [one for several in get_args(kind) for one in _kinds(several)]
    return [] if kind in (None, NoneType) else [kind]


def _is_called(kind: Any, name: str) -> bool:
    """Whether pydantic calls it so: `C`, or `function-after[check(), C]`."""
    return _is_model(kind) and kind.__name__ in re.findall(r"\w+", name)


def _is_model(kind: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(kind: Any, part: str) -> Any:
    """The kind of what a model, a table or a list has there."""
    if _is_model(kind):
        field = kind.model_fields.get(part)
        return field and field.annotation
    args = get_args(kind)
    return args[-1 if _is_table(kind) else 0] if args else None


def _is_table(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _paths_in(kind: Any) -> Iterator[Path]:
    for one in _kinds(kind):
        if _is_model(one):
            yield from paths(one)
        elif get_origin(one) is tuple:
            yield from (("0", *path) for path in _paths_in(get_args(one)[0]))
