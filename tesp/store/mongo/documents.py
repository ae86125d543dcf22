"""The documents, their indexes, and the parts of them that queries read.

All times are whole milliseconds since the epoch, by the server's clock. Beanie ties a document
class to one database, so each store makes classes of its own from these shapes (`bound`).
"""

from datetime import datetime
from typing import Any, ClassVar

from beanie import Document
from pydantic import BaseModel, ConfigDict, Field
from pymongo import ASCENDING, DESCENDING, IndexModel

from tesp.tes.states import State

SCHEMA = 1

Index = list[tuple[str, int]]


def _index(name: str, keys: Index, **options: Any) -> IndexModel:
    return IndexModel(keys, name=name, **options)


class _Shape(BaseModel):
    model_config = ConfigDict(populate_by_name=True)


class Piece(_Shape):
    """A text in both views. `full` is absent where it is the same as `basic`.

    What is too large to lie in the task's document lies under `ref` among the texts.
    """

    basic: str | None = None
    full: str | None = None
    ref: str | None = None


class Pair(_Shape):
    """A key with its value: as a field's name, a key with a dot in it would not be found."""

    k: str
    v: str


class StoredNeeds(_Shape):
    """Needs, with the parameters as pairs."""

    cpus: float = 0.0
    ram_bytes: int = 0
    disk_bytes: int = 0
    preemptible: bool = False
    zones: list[str] = []
    parameters: list[Pair] = []


class StoredAttempt(_Shape):
    """The attempt that the task is in; without a backend while it is queued."""

    number: int = 1
    backend: str | None = None
    phase: str | None = None
    handle: str | None = None
    place: str | None = None
    outcome: str | None = None
    remarks: list[str] | None = None


class StoredEvent(_Shape):
    """One change of the task's state, without what it shares with all others of the task."""

    number: int
    state: State
    time: int
    attempt: int
    reason: str | None = None


class StoredKey(_Shape):
    """The idempotency key that made a task; free for another one from `expires` on."""

    key: str
    digest: str
    expires: int = 0


class TaskShape(_Shape):
    """One task. The lease, live tails and large texts lie outside.

    `history` holds all events. `relayed` says how many of them are in the log; while it is not
    all, `outbox` holds the time since when. `lease_epoch` fences the writes of workers,
    `claim_epoch` is its value at the beginning of the attempt.
    """

    id: str
    schema_: int = Field(default=SCHEMA, alias="schema")
    owner: str
    state: State = State.QUEUED
    name: str | None = None
    tags: list[Pair] = []
    needs: StoredNeeds = StoredNeeds()
    warnings: list[str] = []
    body: Piece
    logs: Piece | None = None
    attempt: StoredAttempt = StoredAttempt()
    lease_epoch: int = 0
    claim_epoch: int = 0
    due: int = 0
    events: int = 1
    history: list[StoredEvent] = []
    relayed: int = 0
    outbox: int | None = None
    idempotency: StoredKey | None = None
    correlation: str | None = None
    hops: int = 0
    callback: str | None = None

    class Settings:
        name = "tasks"
        indexes: ClassVar = [
            _index("by_owner", [("owner", ASCENDING), ("_id", DESCENDING)]),
            _index("by_state", [("state", ASCENDING), ("_id", DESCENDING)]),
            _index(
                "by_owner_state",
                [("owner", ASCENDING), ("state", ASCENDING), ("_id", DESCENDING)],
            ),
            _index("by_name", [("name", ASCENDING), ("_id", DESCENDING)]),
            # Whole pairs: k and v as two fields of the key would not tell which belong together.
            _index("by_tag", [("tags", ASCENDING), ("_id", DESCENDING)]),
            _index("by_tag_key", [("tags.k", ASCENDING), ("_id", DESCENDING)]),
            # The state is in the key too, so that the owners are read off the index alone.
            _index(
                "queued",
                [
                    ("state", ASCENDING),
                    ("owner", ASCENDING),
                    ("due", ASCENDING),
                    ("_id", ASCENDING),
                ],
                partialFilterExpression={"state": State.QUEUED.value},
            ),
            _index(
                "unrelayed",
                [("outbox", ASCENDING), ("_id", ASCENDING)],
                partialFilterExpression={"outbox": {"$exists": True}},
            ),
            _index(
                "idempotency",
                [("owner", ASCENDING), ("idempotency.key", ASCENDING)],
                unique=True,
                partialFilterExpression={"idempotency.key": {"$exists": True}},
            ),
        ]


class LeaseShape(_Shape):
    """Who works on a task, until when. Its epoch rises with each owner; free without backend."""

    id: str
    epoch: int
    holder: str = ""
    backend: str | None = None
    expires: int = 0

    class Settings:
        name = "leases"
        indexes: ClassVar = [_index("by_expiry", [("backend", ASCENDING), ("expires", ASCENDING)])]


class HoldShape(_Shape):
    """A named lease of one process."""

    id: str
    holder: str
    expires: int

    class Settings:
        name = "holds"


class TailShape(_Shape):
    """The live tails of a running attempt, as JSON text. The server drops forgotten ones."""

    id: str
    epoch: int
    text: str
    touched: datetime

    class Settings:
        name = "tails"
        indexes: ClassVar = [
            _index("forgotten", [("touched", ASCENDING)], expireAfterSeconds=7 * 86400)
        ]


class TextShape(_Shape):
    """A text too large for the task's document; never changed, only replaced by another."""

    id: str
    task: str
    full: str
    basic: str | None = None

    class Settings:
        name = "texts"


class SecretShape(_Shape):
    """Random bytes that all processes share."""

    id: str
    value: bytes

    class Settings:
        name = "secrets"


class CursorShape(_Shape):
    """How far a reader of the log has come."""

    id: str
    sequence: int
    touched: int
    moved: int | None = None

    class Settings:
        name = "cursors"


class ReadingShape(_Shape):
    """What was measured last of one thing."""

    id: str
    text: str
    time: int

    class Settings:
        name = "readings"


class LogShape(_Shape):
    """An event at its place in the log. Its id is the event's: it can be there but once."""

    id: str
    sequence: int
    task: str
    number: int
    state: State
    time: int
    owner: str
    attempt: int
    name: str | None = None
    reason: str | None = None
    correlation: str | None = None
    hops: int = 0
    callback: str | None = None

    class Settings:
        name = "log"
        indexes: ClassVar = [_index("by_sequence", [("sequence", ASCENDING)], unique=True)]


def bound(shape: type[BaseModel]) -> type[Document]:
    """A fresh Beanie document of that shape, to be tied to one database."""
    return type(shape.__name__, (shape, Document), {"__module__": shape.__module__})
