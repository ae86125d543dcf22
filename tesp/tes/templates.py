"""Templates of tasks: `{field}` marks that are filled in, whole and only where that is safe. Pure.

A mark stands in the value of a variable, a URL, a tag, the name or the description; as the
content of an input it stands alone, and `{*}` there is all fields as JSON. Anywhere else, in a
command above all, a mark is refused: what somebody sends must never be read as a program.
`{{field}}` is the text `{field}`; `${field}` is the shell's own, and left alone.
"""

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any
from urllib.parse import quote, unquote

import orjson

from tesp.errors import InvalidTask, Problem

Value = str | int | float | bool | None
ALL = "*"
_FIELD = r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}"
_MARK = re.compile(r"(?<![\${])\{(" + _FIELD + r"|\*)\}(?!\})")
_ESCAPED = re.compile(r"\{\{(" + _FIELD + r"|\*)\}\}")
# In one go: what was filled in is never looked at again.
_EITHER = re.compile(f"{_ESCAPED.pattern}|{_MARK.pattern}")
# Up to the path: who fills in a host chooses where we go.
_BEFORE_PATH = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/{}]*/")
_CANNOT = "holds the mark {{{0}}}, and nothing is filled in there; "
_MENDS = {
    "command": "bring it in by a variable, env = {{ VALUE = '{{{0}}}' }}, and use that; "
    "write {{{{{0}}}}} for the text itself",
    "content": "what is sent would become part of a program: let it be the whole content, or use "
    "env; write {{{{{0}}}}} for the text itself",
    "": "marks may stand in env, urls, tags, name and content; write {{{{{0}}}}} for the text",
}


class _Kind(Enum):
    TEXT = "text"
    URL = "url"
    CONTENT = "content"
    FIXED = "fixed"


_KINDS = {
    ("name",): _Kind.TEXT,
    ("description",): _Kind.TEXT,
    ("tags", "*"): _Kind.TEXT,
    ("executors", "*", "env", "*"): _Kind.TEXT,
    ("inputs", "*", "url"): _Kind.URL,
    ("outputs", "*", "url"): _Kind.URL,
    ("inputs", "*", "content"): _Kind.CONTENT,
}


def problems(template: Mapping[str, Any]) -> list[Problem]:
    """Every mark that stands where none may."""
    return [p for place, text in _leaves(template, ()) for p in _wrong(place, text)]


def marks_of(text: str) -> list[str]:
    """The fields that a text would ask for."""
    return _MARK.findall(text)


def fields_of(template: Mapping[str, Any]) -> set[str]:
    """The fields that it asks for."""
    return {
        mark
        for place, text in _leaves(template, ())
        if _kind(place) is not _Kind.FIXED
        for mark in _MARK.findall(text)
    }


def filled(template: Mapping[str, Any], fields: Mapping[str, Value]) -> dict[str, Any]:
    """The template with its marks filled in; raises InvalidTask where a field is missing."""
    result = _filled(template, (), fields)
    assert isinstance(result, dict)
    return result


def text_of(value: Value) -> str:
    """A value as text: a string as it is, anything else as in JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _leaves(node: Any, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Each text and its place; keys of tables are texts too, at a place of no kind."""
    if isinstance(node, str):
        yield place, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield (*place, f"the key {key!r}", "key"), key
            yield from _leaves(value, (*place, key))
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _leaves(value, (*place, str(number)))


def _kind(place: tuple[str, ...]) -> _Kind:
    for known, kind in _KINDS.items():
        if len(known) == len(place) and all(
            k in ("*", p) for k, p in zip(known, place, strict=True)
        ):
            return kind
    return _Kind.FIXED


def _wrong(place: tuple[str, ...], text: str) -> Iterator[Problem]:
    marks = list(_MARK.finditer(text))
    if not marks:
        return
    kind, field, first = _kind(place), ".".join(place), marks[0]
    if kind is _Kind.CONTENT and first.group() == text:
        return
    if kind is _Kind.URL and not _BEFORE_PATH.match(text[: first.start()]):
        message = f"holds the mark {first.group()} before its path; write scheme and host out"
        yield Problem(field, message)
    elif kind in (_Kind.FIXED, _Kind.CONTENT):
        last = "content" if kind is _Kind.CONTENT else "command" if "command" in place else ""
        yield Problem(field, (_CANNOT + _MENDS[last]).format(first[1]))
    elif any(mark[1] == ALL for mark in marks):
        yield Problem(field, "holds {*}, which can only be the whole content of an input")


def _filled(node: Any, place: tuple[str, ...], fields: Mapping[str, Value]) -> Any:
    if isinstance(node, str):
        return _text(node, place, fields)
    if isinstance(node, Mapping):
        return {k: _filled(v, (*place, k), fields) for k, v in node.items()}
    if isinstance(node, list | tuple):
        return [_filled(v, (*place, str(n)), fields) for n, v in enumerate(node)]
    return node


def _text(text: str, place: tuple[str, ...], fields: Mapping[str, Value]) -> str:
    kind, field = _kind(place), ".".join(place)

    def put(found: re.Match[str]) -> str:
        if found[1]:
            return f"{{{found[1]}}}"
        value = _value(found[2], field, fields)
        return quote(value, safe="") if kind is _Kind.URL else value

    result = _EITHER.sub(put, text)
    if kind is _Kind.URL and result != text:
        _check_url(field, result, text)
    return result


def _value(name: str, place: str, fields: Mapping[str, Value]) -> str:
    if name == ALL:
        return orjson.dumps(dict(fields)).decode()
    if fields.get(name) is None:
        raise InvalidTask([Problem(place, f"asks for {name}, which the message does not say")])
    return text_of(fields[name])


def _check_url(place: str, url: str, template: str) -> None:
    """A value must not lead out of where the template leads."""
    steps, before = unquote(url).split("/"), template.split("/")
    if {".", ".."}.intersection(steps) or steps.count("") > before.count(""):
        raise InvalidTask([Problem(place, "a field would lead to another directory")])
