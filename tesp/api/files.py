"""Files for the job's own side: its inputs out, its outputs in, under keys of one attempt."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from tesp import errors
from tesp.api.inflow import Inflow
from tesp.api.multipart import file_in
from tesp.api.outflow import Outflow
from tesp.api.parts import FileParts
from tesp.api.problems import problem
from tesp.api.resources import Resource
from tesp.api.targets import asked_target, published_target, source_of
from tesp.errors import StagingError
from tesp.staging.keys import OUTPUTS, input_path
from tesp.tes.models import TaskSubmission
from tesp.tes.views import submission_of

_log = logging.getLogger(__name__)

# The most that S3 takes in one PUT; what is larger goes through us, in parts.
_MOST_SIGNED_BYTES = 5 << 30
# Of the final failures none is a 5xx but a full disk: only the others are worth another try.
_STATUSES: dict[type[StagingError], int] = {
    errors.SourceMissing: HTTPStatus.NOT_FOUND,
    errors.UnsupportedUrl: HTTPStatus.BAD_REQUEST,
    errors.DiskFull: HTTPStatus.INSUFFICIENT_STORAGE,
    errors.TransferFailed: HTTPStatus.BAD_GATEWAY,
    errors.StagingError: HTTPStatus.FAILED_DEPENDENCY,
}


@dataclass(frozen=True, slots=True)
class _Job:
    """The attempt that a key is good for."""

    task_id: str
    number: int
    task: TaskSubmission


class Files:
    """The endpoints below /files; a key is all that they ask for."""

    def __init__(self, parts: FileParts) -> None:
        self._store, self._storages, self._keys = parts.store, parts.storages, parts.keys
        turns = asyncio.Semaphore(parts.transfers)
        self._inflow = Inflow(parts.storages, turns, parts.silence_seconds)
        self._outflow = Outflow(parts.storages, turns, parts.silence_seconds)

    def routes(self) -> list[BaseRoute]:
        """Where they are; the job's URLs are made by Keys."""
        base = "/files/{task}/{number:int}"
        outputs = Resource(GET=self.target, PUT=self.take, POST=self.take_form)
        return [
            Route(f"{base}/inputs/{{index:int}}", Resource(GET=self.give)),
            Route(f"{base}/{OUTPUTS}", outputs),
        ]

    async def give(self, request: Request) -> Response:
        """One input, or one file of an input that is a directory."""
        index, name = request.path_params["index"], request.query_params.get("name", "")
        job = await self._admitted(request, input_path(index, name))
        with _told(job, f"inputs[{index}]"):
            source = source_of(job.task, index, name)
            if isinstance(source, bytes):
                return Response(source, media_type="application/octet-stream")
            signed = await self._storages.presigned(source, "GET")
        if signed:
            return RedirectResponse(signed, headers={"Cache-Control": "no-store"})
        return _Told(self._outflow.response(request, source), job, f"inputs[{index}]")

    async def target(self, request: Request) -> Response:
        """Where the job's side itself can put a file, if it can."""
        job = await self._admitted(request, OUTPUTS)
        with _told(job, "outputs"):
            target = asked_target(job.task, request.query_params)
        with _told(job, target.field):
            fits = target.size <= _MOST_SIGNED_BYTES
            url = await self._storages.presigned(target.url, "PUT") if fits else None
        answer = json.dumps({"url": url})
        return Response(answer, 200, {"Cache-Control": "no-store"}, "application/json")

    async def take(self, request: Request) -> Response:
        """One file of an output, as the body."""
        job = await self._admitted(request, OUTPUTS)
        with _told(job, "outputs"):
            target = asked_target(job.task, request.query_params)
        with _told(job, target.field):
            announced = request.headers.get("content-length", str(target.size))
            if announced != str(target.size):
                raise StagingError(f"{announced} bytes are announced, and size={target.size}.")
            await self._inflow.put(target.url, target.size, self._inflow.body(request.receive))
        return Response(status_code=HTTPStatus.CREATED)

    async def take_form(self, request: Request) -> Response:
        """One published file, as Pulsar posts it. A failure is a 500, for Pulsar takes no other
        answer for one, and its sentence is kept for the worker."""
        job = await self._admitted(request, OUTPUTS)
        field = "outputs"
        try:
            target = published_target(job.task, request.query_params.get("path", ""))
            field = target.field
            body = self._inflow.body(request.receive)
            form = file_in(request.headers.get("content-type", ""), body)
            await self._inflow.put(target.url, target.size, form)
        except StagingError as error:
            sentence = f"{field}: {error}"
            _log.warning("Task %s: %s", job.task_id, sentence)
            await self._store.remark(job.task_id, job.number, sentence)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)
        return Response(status_code=HTTPStatus.CREATED)

    async def _admitted(self, request: Request, path: str) -> _Job:
        """The job that the key is good for, while it is being worked on."""
        task_id, number = request.path_params["task"], request.path_params["number"]
        key = request.query_params.get("key", "")
        if not self._keys.is_valid(task_id, number, path, key):
            raise HTTPException(HTTPStatus.FORBIDDEN, "The key is not good for this file.")
        current = await self._store.current(task_id)
        if current is None or current.number != number:
            raise HTTPException(
                HTTPStatus.FORBIDDEN, f"Attempt {number} of task {task_id} is over."
            )
        return _Job(task_id, number, submission_of(current.body.full))


class _Told(Response):
    """An answer whose failures, before it begins, are told as those of a file."""

    def __init__(self, response: Response, job: _Job, field: str) -> None:
        self._response, self._job, self._field = response, job, field

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with _told(self._job, self._field):
            await self._response(scope, receive, send)


@contextmanager
def _told(job: _Job, field: str) -> Iterator[None]:
    """Failures of staging as answers that say all: who has the key may know."""
    try:
        yield
    except StagingError as error:
        sentence = f"{field}: {error}"
        _log.warning("Task %s: %s", job.task_id, sentence)
        status = next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)
        raise HTTPException(status, sentence) from error
