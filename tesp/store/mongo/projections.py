"""What queries read of a task's document: never more than they need."""

from typing import ClassVar

from pydantic import BaseModel, Field

from tesp.store.mongo.documents import Pair, Piece, StoredAttempt, StoredEvent, StoredNeeds
from tesp.tes.states import State
from tesp.tes.views import View


class TaskId(BaseModel):
    """The id alone."""

    id: str = Field(alias="_id")


class Minimal(TaskId):
    """MINIMAL."""

    state: State


class Shown(Minimal):
    """FULL."""

    body: Piece
    logs: Piece | None = None
    claim_epoch: int = 0


class Basic(Shown):
    """BASIC: the full texts stay where they are."""

    class Settings:
        projection: ClassVar = dict.fromkeys(
            ("state", "body.basic", "body.ref", "logs.basic", "logs.ref"), 1
        )


VIEWS: dict[View, type[Minimal]] = {View.MINIMAL: Minimal, View.BASIC: Basic, View.FULL: Shown}


class Guarded(Minimal):
    """What guards a write."""

    lease_epoch: int
    attempt: StoredAttempt


class Needy(TaskId):
    """What a task asks for, for whom."""

    owner: str
    needs: StoredNeeds


class Waiting(Needy):
    """A queued task."""

    tags: list[Pair] = []


class Due(BaseModel):
    """When a queued task is due."""

    due: int

    class Settings:
        projection: ClassVar = {"_id": 0, "due": 1}


class Claimed(Needy):
    """What a worker gets to begin with, or to carry on."""

    state: State
    name: str | None = None
    warnings: list[str] = []
    body: Piece
    logs: Piece | None = None
    attempt: StoredAttempt
    events: int
    lease_epoch: int


class Running(Minimal):
    """The attempt that goes on, and what it works on."""

    attempt: StoredAttempt
    body: Piece


class Remarked(TaskId):
    """What was said of an attempt's transfers."""

    attempt: StoredAttempt


class Noted(Remarked):
    """The log, with the number of the attempt that goes on."""

    logs: Piece | None = None


class Written(Minimal):
    """What was there before a write."""

    events: int
    body: Piece | None = None
    logs: Piece | None = None

    class Settings:
        projection: ClassVar = dict.fromkeys(("state", "events", "body.ref", "logs.ref"), 1)


class Keyed(TaskId):
    """The task that an idempotency key made."""

    class Key(BaseModel):
        digest: str

    idempotency: Key


class History(TaskId):
    """The events of a task."""

    owner: str
    name: str | None = None
    history: list[StoredEvent]
    relayed: int
    correlation: str | None = None
    hops: int = 0
    callback: str | None = None


class Last(BaseModel):
    """A place in the log."""

    sequence: int

    class Settings:
        projection: ClassVar = {"_id": 0, "sequence": 1}


class Entry(BaseModel):
    """An entry of the log."""

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


class Dated(Last):
    """A place in the log, with its time."""

    time: int

    class Settings:
        projection: ClassVar = {"_id": 0, "sequence": 1, "time": 1}


class Leased(TaskId):
    """A lease's epoch."""

    epoch: int


class Tails(Leased):
    """Live tails."""

    text: str


class Texts(TaskId):
    """A large text."""

    full: str
    basic: str | None = None

    def of(self, view: View) -> str:
        """The text for BASIC or FULL."""
        return self.full if view is View.FULL or self.basic is None else self.basic


def fields(model: type[BaseModel]) -> dict[str, int]:
    """The model as a projection for operations that Beanie has no word for."""
    settings = getattr(model, "Settings", None)
    if settings is not None:
        return dict(settings.projection)
    return {f.alias or name: 1 for name, f in model.model_fields.items()}
