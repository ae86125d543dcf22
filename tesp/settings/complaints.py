"""A mapping against a model, and what is wrong with it in sentences that mend it."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tesp.errors import SettingsError
from tesp.settings.places import Choice, Path, Place, paths, place_of
from tesp.settings.variables import NO_ORIGINS, OTHERS, Origins, spelled

_UNKNOWN, _MISSING = "extra_forbidden", "missing"
# What pydantic says in words of Python, or without the mend.
_IN_PLAIN_WORDS = {
    "model_type": "this must be a table",
    "mapping_type": "this must be a table",
    "dict_type": "this must be a table",
    "tuple_type": "this must be a list",
    _MISSING: "this key must be set",
    "greater_than": "this must be more than {gt}",
    "greater_than_equal": "this must be {ge} or more",
    "less_than_equal": "this must be {le} or less",
    "string_too_short": "this must have {min_length} signs or more",
    "string_too_long": "this must have {max_length} signs or less",
    "too_short": "this must have {min_length} signs or more",
}
_EMPTY = "this must not be empty"
_NO_SUCH = "no such setting"
# Said of a value that is of another kind, and not of what is wrong within one.
_OF_ANOTHER_KIND = re.compile(r".+_(type|parsing)|literal_error|int_from_float")

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class _Complaint:
    place: Place
    kind: str
    message: str

    def is_about(self, choice: Choice) -> bool:
        """Whether the value is of that kind, and something is wrong with it as such."""
        return not (choice.is_last and _OF_ANOTHER_KIND.fullmatch(self.kind))


def checked(model: type[M], data: Mapping[str, Any], origins: Origins = NO_ORIGINS) -> M:
    """The model of a mapping; raises SettingsError that names every wrong key, never a value.

    What a variable said is told of that variable.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found: dict[str, list[str]] = {}
        for complaint in _complaints(model, error):
            for subject, message in _told(complaint, origins):
                found.setdefault(subject, []).append(message)
        # A value that fits none of several kinds is told of once for each of them.
        sentences = (_sentence(subject, messages) for subject, messages in found.items())
        raise SettingsError("; ".join(sentences)) from None


def nearest(model: type[BaseModel], key: str) -> Path | None:
    """The key of the model that was meant: the same one further in, or one much like it."""
    near = difflib.get_close_matches(key, model.model_fields, 1, 0.4)
    return _further_in(model, key) or (tuple(near) or None)


def _further_in(model: type[BaseModel], key: str) -> Path | None:
    """The first path that ends so, or is written so with single underscores."""
    return next((path for path in paths(model) if key in (path[-1], "_".join(path))), None)


def _sentence(subject: str, messages: list[str]) -> str:
    said = " or ".join(dict.fromkeys(messages))
    return f"{subject}: {said}" if subject else said


def _complaints(model: type[BaseModel], error: ValidationError) -> list[_Complaint]:
    """All, but for those about kinds that a value is plainly not of, where it is of another."""
    details = error.errors(include_input=False, include_url=False)
    found = [_Complaint(place_of(model, d["loc"]), d["type"], _message(d)) for d in details]
    meant = {(c.at, c.kind) for one in found for c in one.place.choices if one.is_about(c)}
    known = {at for at, _ in meant}
    return [
        one
        for one in found
        if all((c.at, c.kind) in meant or c.at not in known for c in one.place.choices)
    ]


def _message(details: ErrorDetails) -> str:
    """What pydantic says, in plain words where there are any."""
    facts = {name: _plain(fact) for name, fact in details.get("ctx", {}).items()}
    if facts.get("min_length") == 1:
        return _EMPTY
    words = _IN_PLAIN_WORDS.get(details["type"])
    return words.format(**facts) if words else details["msg"].removeprefix("Value error, ")


def _plain(fact: Any) -> Any:
    return int(fact) if isinstance(fact, float) and fact.is_integer() else fact


def _told(complaint: _Complaint, origins: Origins) -> Iterator[tuple[str, str]]:
    """Of what it is told, a key or a variable, and how."""
    path = complaint.place.path
    if complaint.kind != _UNKNOWN:
        yield _subject(path, origins), complaint.message + _seen(complaint, origins)
        return
    for variable, further in origins.within(path):
        meant = _meant(complaint.place, variable, further)
        hint = f"; did you mean {meant}? Else unset it" if meant else ": unset it"
        yield variable, f"{_NO_SUCH}{hint}"
    if not origins.within(path):
        near = nearest(complaint.place.table, path[-1])
        hint = f"; did you mean {'.'.join(near)}?" if near else ""
        yield _subject(path, origins), f"{_NO_SUCH}{hint}"


def _meant(place: Place, variable: str, further: Path) -> str | None:
    """The variable that was meant: of a key of the same table, or else any that is much like it,
    for there may be anything in a shell."""
    *above, key = place.path
    near = nearest(place.table, key) if above else _further_in(place.table, key)
    if near:
        return spelled((*above, *near, *further), variable)
    if above:
        return None
    known = [*OTHERS, *(spelled(path, variable) for path in paths(place.table))]
    return next(iter(difflib.get_close_matches(variable, known, 1, 0.8)), None)


def _subject(path: Path, origins: Origins) -> str:
    """The key, after the variable that said a table or a list that it is in; or that which said
    it alone."""
    key, around = ".".join(path), origins.around(path)
    if around is None:
        return key
    variable, whole = around
    return variable if whole == path else f"{variable}: {key}"


def _seen(complaint: _Complaint, origins: Origins) -> str:
    """The variables that said some of the keys that it is about."""
    path, is_missing = complaint.place.path, complaint.kind == _MISSING
    within = origins.within(path[:-1] if is_missing else path)
    words = re.findall(r"\w+", complaint.message)
    about = [name for name, rest in within if rest and (is_missing or rest[-1] in words)]
    return f" (see {', '.join(about)})" if about else ""
