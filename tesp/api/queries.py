"""The query strings of GET: read, judged, and made into what the store is asked."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from starlette.datastructures import QueryParams

from tesp.api.dialects import Dialect
from tesp.api.waiting import MOST_SECONDS
from tesp.errors import InvalidTask, Problem
from tesp.store import TaskQuery
from tesp.tes import page_tokens
from tesp.tes.states import State
from tesp.tes.views import View

DEFAULT_PAGE_SIZE = 256
MOST_PAGE_SIZE = 2047
_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_DIGITS = re.compile(r"[0-9]{1,4}")
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class ListQuery:
    """What to ask the store, and what its next page token is bound to."""

    query: TaskQuery
    binding: bytes


@dataclass(frozen=True, slots=True)
class Wish:
    """For how long to wait, until a state is another than `since`, or for the end where that
    is None."""

    seconds: float
    since: State | None = None


def view_of(params: QueryParams) -> View:
    """The view asked for; MINIMAL where none is."""
    return _choice(View, "view", params.get("view")) or View.MINIMAL


def list_query(params: QueryParams, dialect: Dialect) -> ListQuery:
    """The query of a list; raises InvalidTask where it cannot be."""
    view = view_of(params)
    shown = _choice(State, "state", params.get("state"))
    states = dialect.stored(shown) if shown else None
    prefix = params.get("name_prefix") or None
    tags = _tags(params.getlist("tag_key"), params.getlist("tag_value"))
    binding = page_tokens.binding(states, prefix, tags)
    token = params.get("page_token")
    query = TaskQuery(
        view=view,
        size=_size(params.get("page_size")),
        after=page_tokens.unseal(token, binding) if token else None,
        states=states,
        name_prefix=prefix,
        tags=tags,
    )
    return ListQuery(query, binding)


def wait_query(params: QueryParams) -> Wish | None:
    """What a client waits for; None where it does not."""
    since = _choice(State, "since", params.get("since"))
    text = params.get("wait")
    if text is None:
        return None
    if not (_NUMBER.fullmatch(text) and 0 <= float(text) <= MOST_SECONDS):
        raise _invalid("wait", f"must be a number of seconds from 0 to {MOST_SECONDS}")
    return Wish(float(text), since)


def _choice(kind: type[E], field: str, text: str | None) -> E | None:
    if text is None:
        return None
    try:
        return kind(text)
    except ValueError:
        names = ", ".join(kind)
        raise _invalid(field, f"must be one of {names}, in these very letters") from None


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE_SIZE
    if _DIGITS.fullmatch(text) and 1 <= int(text) <= MOST_PAGE_SIZE:
        return int(text)
    raise _invalid("page_size", f"must be a whole number from 1 to {MOST_PAGE_SIZE}")


def _tags(keys: list[str], values: list[str]) -> tuple[tuple[str, str | None], ...]:
    """Keys with their values; an empty or missing value stands for any."""
    if len(values) > len(keys):
        raise _invalid("tag_value", "must not be given more often than tag_key")
    padded = values + [""] * (len(keys) - len(values))
    return tuple((key, value or None) for key, value in zip(keys, padded, strict=True))


def _invalid(field: str, message: str) -> InvalidTask:
    return InvalidTask([Problem(field, message)])
