"""What the transfers of a job's own side need."""

import secrets

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from tesp.errors import StoreError
from tesp.store import Current
from tesp.store.mongo import texts
from tesp.store.mongo.connection import Collections, raw
from tesp.store.mongo.expressions import Expression, literal
from tesp.store.mongo.projections import Remarked, Running
from tesp.store.mongo.tasks import LIVE
from tesp.tes.states import State
from tesp.tes.views import View

_SECRET_BYTES = 32
_MOST_REMARKS = 100
_ROUNDS = 5
_LIVE = sorted(state.value for state in LIVE)
_CURRENT = [State.INITIALIZING.value, State.RUNNING.value]


async def secret(db: Collections, name: str) -> bytes:
    """The secret of that name, made where it is missing; the first one made is everybody's."""
    fresh = {"$setOnInsert": {"value": secrets.token_bytes(_SECRET_BYTES)}}
    for _ in range(2):
        try:
            found = await raw(db.secrets).find_one_and_update(
                {"_id": name}, fresh, upsert=True, return_document=ReturnDocument.AFTER
            )
        except DuplicateKeyError:  # another's upsert was faster
            continue
        if found is not None:
            return bytes(found["value"])
    raise StoreError(f"the secret {name!r} could not be read")


async def current(db: Collections, task_id: str) -> Current | None:
    """The attempt that may fetch and send."""
    for _ in range(_ROUNDS):
        where = {"_id": task_id, "state": {"$in": _CURRENT}}
        found = await db.tasks.find_one(where, projection_model=Running)
        if found is None:
            return None
        full = await texts.load(db, [found.body], View.FULL)
        basic = await texts.load(db, [found.body], View.BASIC)
        if full is not None and basic is not None:
            body = texts.text_of(found.body, full, basic)
            return Current(found.state, found.attempt.number, body)
    raise StoreError(f"a text of task {task_id} is missing: restore the collection `texts`")


async def remark(db: Collections, task_id: str, number: int, sentence: str) -> None:
    """Keep a sentence in the attempt itself: it goes when the attempt does."""
    kept: Expression = {"$ifNull": ["$attempt.remarks", []]}
    full = {"$gte": [{"$size": kept}, _MOST_REMARKS]}
    known = {"$in": [literal(sentence), kept]}
    longer = {"$concatArrays": [kept, [literal(sentence)]]}
    await raw(db.tasks).update_one(
        {"_id": task_id, "state": {"$in": _LIVE}, "attempt.number": number},
        [{"$set": {"attempt.remarks": {"$cond": [{"$or": [known, full]}, kept, longer]}}}],
    )


async def remarks(db: Collections, task_id: str, number: int) -> list[str]:
    """The sentences in order."""
    where = {"_id": task_id, "attempt.number": number}
    found = await db.tasks.find_one(where, projection_model=Remarked)
    return (found.attempt.remarks or []) if found else []
