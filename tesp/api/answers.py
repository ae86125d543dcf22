"""Answers in JSON, with a tag that tells a client at its next look whether anything is new."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

_MEDIA_TYPE = "application/json"


def answer(text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that nobody asks for again."""
    return Response(text, headers=headers, media_type=_MEDIA_TYPE)


def tagged(request: Request, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """An answer to a GET, or 304 without it where the client has the same already."""
    content = text.encode()
    tag = f'W/"{hashlib.sha1(content, usedforsecurity=False).hexdigest()[:24]}"'
    tags = {**(headers or {}), "ETag": tag}
    if _has(request.headers.get("if-none-match"), tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=tags)
    return Response(content, headers=tags, media_type=_MEDIA_TYPE)


def _has(asked: str | None, tag: str) -> bool:
    """Whether a tag is among those of an If-None-Match; weak or strong is the same there."""
    if asked is None:
        return False
    known = {given.strip().removeprefix("W/") for given in asked.split(",")}
    return tag.removeprefix("W/") in known or "*" in known
