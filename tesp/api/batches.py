"""Many tasks in one request, for engines that have thousands: an extension beyond TES.

Each task is judged on its own, by the rules for one that comes alone; one answer each.
"""

import asyncio
from typing import Any

import pydantic_core
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from tesp.api import bodies, problems
from tesp.api.answers import answer
from tesp.api.parts import Parts
from tesp.api.submissions import idempotency_key, new_task, origin_of
from tesp.api.tasks import unknown
from tesp.errors import InvalidTask, Problem
from tesp.store import IdempotencyKey, NewTask
from tesp.tes.models import Document
from tesp.tes.parsing import MOST_VALUES, validated, values_at_most
from tesp.tes.views import View, render

MOST_TASKS = 1000
MOST_IDS = 2047
_BODIES = 2  # a batch may be as large as so many of the largest single requests,
_VALUES = 10 * MOST_VALUES  # and hold so many values
_AT_A_TIME = 20  # tasks that are judged before other requests have their turn


class Batch(Document):
    """Tasks to be made."""

    tasks: list[Any] = Field(min_length=1, max_length=MOST_TASKS)


class BatchNames(Document):
    """Tasks to be shown."""

    ids: list[str] = Field(min_length=1, max_length=MOST_IDS)
    view: View = View.MINIMAL


class Batches:
    """The endpoints for many tasks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, request: Request) -> Response:
        """Store those tasks that may run; when this answers, they are kept."""
        body = await self._body(request)
        key = idempotency_key(request, body)
        owner, origin = self._parts.owner(request), origin_of(request)
        results: dict[int, str] = {}
        admitted: dict[int, NewTask] = {}
        for place, document in enumerate(validated(Batch, body).tasks):
            if place % _AT_A_TIME == 0:
                await asyncio.sleep(0)
            task = pydantic_core.to_json(document)
            try:
                admitted[place] = new_task(self._parts, owner, task, _at(place, key), origin)
            except InvalidTask as error:
                results[place] = f'{{"error":{problems.text_of(error)}}}'
        made = await self._parts.store.create_many(list(admitted.values()))
        results |= {p: f'{{"id":"{i}"}}' for p, i in zip(admitted, made, strict=True)}
        return _tasks([text for _, text in sorted(results.items())])

    async def get(self, request: Request) -> Response:
        """Some tasks, in the order of their ids."""
        asked = validated(BatchNames, await self._body(request))
        found = await self._parts.store.get_many(asked.ids, asked.view)
        return _tasks([render(found[i]) if i in found else _missing(i) for i in asked.ids])

    async def _body(self, request: Request) -> bytes:
        body = await bodies.read(request, _BODIES * self._parts.admission.limits.body_bytes)
        if values_at_most(body) > _VALUES:
            raise InvalidTask([Problem("body", "holds too many values; make it several batches")])
        return body


def _at(place: int, key: IdempotencyKey | None) -> IdempotencyKey | None:
    """The key of one task of a batch: none that a client could give to a task alone."""
    return None if key is None else IdempotencyKey(f"{key.key}\n{place}", key.digest)


def _missing(task_id: str) -> str:
    return f'{{"error":{problems.text_of(unknown(task_id))}}}'


def _tasks(texts: list[str]) -> Response:
    return answer(f'{{"tasks":[{",".join(texts)}]}}')
