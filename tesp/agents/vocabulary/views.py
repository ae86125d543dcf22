"""The terms, and what was no term, as JSON over HTTP."""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesp.agents.notebook import Notebook
from tesp.agents.vocabulary.terms import Collection, Term, Vocabulary
from tesp.agents.window import answer

_MOST_REJECTIONS = 1000


def routes(vocabulary: Callable[[], Vocabulary], notebook: Notebook) -> Sequence[Route]:
    """`/collections`, `/collections/{namespace}/{name}[/{term or synonym}]`, `/rejections`."""
    views = Views(vocabulary, notebook)
    return [
        Route("/collections", views.collections),
        Route("/collections/{namespace}/{name}", views.collection),
        Route("/collections/{namespace}/{name}/{term:path}", views.term),
        Route("/rejections", views.rejections),
    ]


class Views:
    """Answers from the vocabulary as it is now."""

    def __init__(self, vocabulary: Callable[[], Vocabulary], notebook: Notebook) -> None:
        self._vocabulary, self._notebook = vocabulary, notebook

    async def collections(self, request: Request) -> Response:
        """All collections, without their terms."""
        found = self._vocabulary().collections.values()
        return answer({"collections": [_summary(one) for one in found]})

    async def collection(self, request: Request) -> Response:
        """One, with its terms."""
        one = self._collection(request)
        if one is None:
            return answer({"detail": "There is no such collection; see /collections."}, 404)
        return answer({**_summary(one), "terms": [_term(term) for term in one.terms]})

    async def term(self, request: Request) -> Response:
        """A term by its name, a synonym, or a text that its pattern matches."""
        one = self._collection(request)
        if one is None:
            return answer({"detail": "There is no such collection; see /collections."}, 404)
        asked = str(request.path_params["term"])
        term = one.find(asked)
        if term is None:
            near = one.nearest(asked)
            hint = f"; did you mean {near}?" if near else ""
            said = f"{asked[:100]!r} is no term of {one.key}{hint}"
            return answer({"detail": said, "nearest": near}, 404)
        return answer({"collection": one.key, **_term(term)})

    async def rejections(self, request: Request) -> Response:
        """What was no term, newest first."""
        return answer({"rejections": await self._notebook.read(_rejections)})

    def _collection(self, request: Request) -> Collection | None:
        parts = request.path_params
        return self._vocabulary().collections.get(f"{parts['namespace']}:{parts['name']}")


def _summary(one: Collection) -> dict[str, Any]:
    return {"collection": one.key, "label": one.label, "count": len(one.terms)}


def _term(term: Term) -> dict[str, Any]:
    return term.model_dump(mode="json")


def _rejections(db: sqlite3.Connection) -> list[Any]:
    query = "SELECT time, body FROM rejections ORDER BY time DESC LIMIT ?"
    rows = db.execute(query, (_MOST_REJECTIONS,))
    return [{"time": time, **orjson.loads(body)} for time, body in rows]
