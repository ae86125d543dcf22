"""Texts of tasks: in the task's document while they are small, else in one of their own.

A large text is stored before the document that points at it, and the one that it replaces is
dropped after: a crash in between leaves an orphan, never a pointer to nothing.
"""

import uuid
from collections.abc import Iterable, Mapping

from tesp.errors import StoreError
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.documents import Piece, TextShape
from tesp.store.mongo.projections import Texts
from tesp.tes.views import Text, View

INLINE_BYTES = 1024 * 1024
MOST_BYTES = 15 * 1024 * 1024  # MongoDB takes no document above 16 MiB


async def put(db: Collections, task_id: str, text: Text) -> Piece:
    """The piece for the task's document; stores what is too large for it."""
    full, basic = _size(text.full), _size(text.basic or "")
    if full + basic <= INLINE_BYTES:
        if text.basic is None:
            return Piece(basic=text.full)
        return Piece(basic=text.basic, full=text.full)
    if full + basic > MOST_BYTES:
        raise StoreError(
            f"task {task_id} has a text of {full + basic} bytes, and MongoDB holds"
            f" {MOST_BYTES}: give large content by url"
        )
    small = text.basic if text.basic is not None and basic <= INLINE_BYTES else None
    large = None if small is not None else text.basic
    ref = uuid.uuid4().hex
    document = TextShape(id=ref, task=task_id, full=text.full, basic=large)
    dumped = document.model_dump(exclude={"id"}, exclude_none=True)
    await raw(db.texts).insert_one({"_id": ref, **dumped})
    return Piece(basic=small, ref=ref)


async def drop(db: Collections, pieces: Iterable[Piece | None]) -> None:
    """Forget large texts that nothing points at any more."""
    refs = [piece.ref for piece in pieces if piece is not None and piece.ref]
    if refs:
        await db.texts.find({"_id": {"$in": refs}}).delete()


async def load(
    db: Collections, pieces: Iterable[Piece | None], view: View
) -> Mapping[str, str] | None:
    """The large texts that this view of the pieces needs, by ref; None where one has gone."""
    refs = {
        piece.ref for piece in pieces if piece is not None and piece.ref and _apart(piece, view)
    }
    if not refs:
        return {}
    query = db.texts.find({"_id": {"$in": sorted(refs)}})
    found = {text.id: text.of(view) for text in await query.project(Texts).to_list()}
    return found if len(found) == len(refs) else None


def _apart(piece: Piece, view: View) -> bool:
    return view is View.FULL or piece.basic is None


def shown(piece: Piece | None, view: View, large: Mapping[str, str]) -> str:
    """The text of a piece in a view, empty where there is none."""
    if piece is None:
        return ""
    if piece.ref and _apart(piece, view):
        return large[piece.ref]
    if view is View.FULL and piece.full is not None:
        return piece.full
    return piece.basic or ""


def text_of(piece: Piece, large: Mapping[str, str], large_basic: Mapping[str, str]) -> Text:
    """The inverse of put."""
    full = shown(piece, View.FULL, large)
    basic = shown(piece, View.BASIC, large_basic)
    return Text(full, None if basic == full else basic)


def _size(text: str) -> int:
    return len(text.encode())
