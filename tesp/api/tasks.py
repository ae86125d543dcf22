"""The endpoints of tasks: create, list, get, cancel."""

import hashlib
import re
import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from tesp.api import bodies, queries
from tesp.api.dialects import Dialect
from tesp.api.parts import Parts
from tesp.errors import InvalidTask, NotFound, Problem
from tesp.store import Cancel, IdempotencyKey, NewTask, Page
from tesp.tes import page_tokens
from tesp.tes.identifiers import new_task_id
from tesp.tes.models import timestamp
from tesp.tes.parsing import parse
from tesp.tes.rules import admit
from tesp.tes.views import body_text, render

_ID = re.compile(r"[A-Za-z0-9-]{1,128}")
_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_json = partial(Response, media_type="application/json")


class Tasks:
    """The tasks of one prefix."""

    def __init__(self, parts: Parts, dialect: Dialect) -> None:
        self._parts = parts
        self._dialect = dialect

    async def create(self, request: Request) -> Response:
        """Store a task; when this answers, it is kept."""
        limits = self._parts.limits
        body = await bodies.read(request, limits.body_bytes)
        key = _idempotency_key(request, body)
        admitted = admit(parse(body), limits, self._parts.check_url)
        submission = admitted.submission
        task = NewTask(
            id=new_task_id(),
            owner=self._parts.owner(request),
            body=body_text(submission, timestamp(time.time())),
            name=submission.name,
            tags=submission.tags or {},
            needs=admitted.needs,
            warnings=admitted.warnings,
            idempotency=key,
        )
        return _json(f'{{"id":"{await self._parts.store.create(task)}"}}')

    async def list(self, request: Request) -> Response:
        """One page of tasks."""
        asked = queries.list_query(request.query_params, self._dialect)
        # A state that this prefix never shows matches no task.
        nothing = asked.query.states is not None and not asked.query.states
        page = Page(()) if nothing else await self._parts.store.page(asked.query)
        return _json(self._page_text(page, asked.binding))

    def _page_text(self, page: Page, binding: bytes) -> str:
        show = self._dialect.show
        tasks = ",".join([render(task, show(task.state)) for task in page.tasks])
        if page.next is None:
            return f'{{"tasks":[{tasks}]}}'
        return f'{{"tasks":[{tasks}],"next_page_token":"{page_tokens.seal(page.next, binding)}"}}'

    async def get(self, request: Request) -> Response:
        """One task."""
        view = queries.view_of(request.query_params)
        task_id = _task_id(request)
        task = await self._parts.store.get(task_id, view)
        if task is None:
            raise _unknown(task_id)
        return _json(render(task, self._dialect.show(task.state)))

    async def cancel(self, request: Request) -> Response:
        """Ask for the end of a task. Whatever the body holds is no matter."""
        task_id = _task_id(request)
        if await self._parts.store.cancel(task_id) is Cancel.UNKNOWN:
            raise _unknown(task_id)
        return _json("{}")


def _task_id(request: Request) -> str:
    task_id: str = request.path_params["id"]
    if not _ID.fullmatch(task_id):
        raise _unknown(task_id)
    return task_id


def _unknown(task_id: str) -> NotFound:
    return NotFound(f"There is no task {task_id[:128]!r}.")


def _idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "must be 1 to 255 printable ASCII characters"
        raise InvalidTask([Problem("Idempotency-Key", message)])
    return IdempotencyKey(key, hashlib.sha256(body).hexdigest())
