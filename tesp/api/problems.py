"""One shape for every error (RFC 9457), and one table of which exception is which answer."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tesp import errors

MEDIA_TYPE = "application/problem+json"
_MOST_SHOWN = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """How an exception is told; `detail` None shows its own words, which are the client's."""

    status: int
    detail: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


_INTERNAL = Answer(500, "Something went wrong in the server; its log tells what.")

ANSWERS: dict[type[Exception], Answer] = {
    errors.InvalidTask: Answer(400),
    errors.UnsupportedUrl: Answer(400),
    errors.NotFound: Answer(404),
    errors.Conflict: Answer(409),
    errors.Forgotten: Answer(410),
    errors.StoreError: Answer(
        503, "The store of tasks cannot be reached just now; try again.", {"Retry-After": "5"}
    ),
    errors.StagingError: Answer(502, "Data could not be moved; the server's log tells why."),
    errors.BackendUnavailable: Answer(
        503, "The backend cannot be reached just now; try again.", {"Retry-After": "5"}
    ),
    errors.BackendError: Answer(502, "The backend failed; the server's log tells why."),
    errors.SettingsError: _INTERNAL,
    errors.TespError: _INTERNAL,
    Exception: _INTERNAL,
}


def answer_to(kind: type[BaseException]) -> Answer:
    """The answer to an exception: that of its nearest ancestor in the table."""
    return next(ANSWERS[k] for k in kind.__mro__ if k in ANSWERS)


def problem(
    status: int,
    detail: str,
    fields: Sequence[errors.Problem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as a response."""
    return Response(text(status, detail, fields), status, headers, MEDIA_TYPE)


def text(status: int, detail: str, fields: Sequence[errors.Problem] = ()) -> str:
    """An error as JSON text."""
    content: dict[str, object] = {
        "status": status,
        "title": HTTPStatus(status).phrase,
        "detail": detail,
    }
    if fields:
        shown = fields[:_MOST_SHOWN]
        content["errors"] = [{"field": p.field, "message": p.message} for p in shown]
    return json.dumps(content)


def text_of(error: errors.TespError) -> str:
    """The same for an exception, by the table."""
    answer = answer_to(type(error))
    if isinstance(error, errors.InvalidTask):
        return text(answer.status, _summary(error.problems), error.problems)
    return text(answer.status, answer.detail or str(error))


def install(api: FastAPI) -> None:
    """Have the application answer every exception by the table."""
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(ClientDisconnect, _gone)
    api.add_exception_handler(errors.TespError, _raised)
    api.add_exception_handler(Exception, _raised)


async def _raised(_: Request, error: Exception) -> Response:
    answer = answer_to(type(error))
    # What nobody foresaw is raised again after the answer, and logged by the server itself.
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR and isinstance(error, errors.TespError):
        _log.error("a request failed: %s", error, exc_info=error)
    if isinstance(error, errors.InvalidTask):
        return problem(answer.status, _summary(error.problems), error.problems)
    return problem(answer.status, answer.detail or str(error), headers=answer.headers)


def _summary(problems: Sequence[errors.Problem]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0].field}: {problems[0].message}{more}"


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, headers=error.headers)


async def _gone(_: Request, error: Exception) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "The request ended before its body did.")
