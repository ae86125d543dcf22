"""The endpoints of tasks: create, list, get, cancel."""

import re

from starlette.requests import Request
from starlette.responses import Response

from tesp.api import bodies, queries
from tesp.api.answers import answer, tagged
from tesp.api.dialects import Dialect
from tesp.api.parts import Parts
from tesp.api.queries import Wish
from tesp.api.submissions import idempotency_key, new_task, origin_of
from tesp.api.waiting import MOST_SECONDS, Waiting
from tesp.errors import NotFound
from tesp.store import Cancel, Page
from tesp.tes import page_tokens
from tesp.tes.states import TERMINAL
from tesp.tes.views import TaskText, View, render

_ID = re.compile(r"[A-Za-z0-9-]{1,128}")
# Tells a client that it may wait, without a field that other clients would not know.
_CAN_WAIT = {"Tesp-Wait": str(MOST_SECONDS)}


class Tasks:
    """The tasks of one prefix."""

    def __init__(self, parts: Parts, dialect: Dialect, waiting: Waiting) -> None:
        self._parts = parts
        self._waiting = waiting
        self._dialect = dialect

    async def create(self, request: Request) -> Response:
        """Store a task; when this answers, it is kept."""
        body = await bodies.read(request, self._parts.admission.limits.body_bytes)
        key = idempotency_key(request, body)
        owner = self._parts.owner(request)
        task = new_task(self._parts, owner, body, key, origin_of(request))
        return answer(f'{{"id":"{await self._parts.store.create(task)}"}}')

    async def list(self, request: Request) -> Response:
        """One page of tasks."""
        asked = queries.list_query(request.query_params, self._dialect)
        # A state that this prefix never shows matches no task.
        nothing = asked.query.states is not None and not asked.query.states
        page = Page(()) if nothing else await self._parts.store.page(asked.query)
        return tagged(request, self._page_text(page, asked.binding))

    def _page_text(self, page: Page, binding: bytes) -> str:
        show = self._dialect.show
        tasks = ",".join([render(task, show(task.state)) for task in page.tasks])
        if page.next is None:
            return f'{{"tasks":[{tasks}]}}'
        return f'{{"tasks":[{tasks}],"next_page_token":"{page_tokens.seal(page.next, binding)}"}}'

    async def get(self, request: Request) -> Response:
        """One task; at once, or when it is as the client waits for it to be."""
        view = queries.view_of(request.query_params)
        wish = queries.wait_query(request.query_params)
        task_id = _task_id(request)
        task = await self._seen(task_id, view, wish)
        if task is None:
            raise unknown(task_id)
        return tagged(request, render(task, self._dialect.show(task.state)), _CAN_WAIT)

    async def _seen(self, task_id: str, view: View, wish: Wish | None) -> TaskText | None:
        store = self._parts.store
        if wish is None:
            return await store.get(task_id, view)

        def enough(task: TaskText | None) -> bool:
            if task is None or wish.since is None:
                return task is None or task.state in TERMINAL
            return self._dialect.show(task.state) is not wish.since

        return await self._waiting.until(
            task_id, lambda: store.get(task_id, view), enough, wish.seconds
        )

    async def cancel(self, request: Request) -> Response:
        """Ask for the end of a task. Whatever the body holds is no matter."""
        task_id = _task_id(request)
        if await self._parts.store.cancel(task_id) is Cancel.UNKNOWN:
            raise unknown(task_id)
        return answer("{}")


def _task_id(request: Request) -> str:
    task_id: str = request.path_params["id"]
    if not _ID.fullmatch(task_id):
        raise unknown(task_id)
    return task_id


def unknown(task_id: str) -> NotFound:
    """The error that there is no such task."""
    return NotFound(f"There is no task {task_id[:128]!r}.")
