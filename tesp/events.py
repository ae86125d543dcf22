"""Events: every change of a task's state, in order, each with one id for ever."""

import uuid
from dataclasses import dataclass

from tesp.tes.states import State

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:event")


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one task.

    `number` counts from 1 within the task; `time` is seconds since the epoch by the store's
    clock; `reason` is a sentence, where there is one. `attempt` is the number of the attempt
    that the task is in after the change: 1 from its creation on, raised by each RETRY.
    `correlation` is shared by all that follows from one cause; without a wider one it is the
    task's id. `hops` counts the triggers that led to the task. `callback` is the URL that wants
    to hear of the task.
    """

    task: str
    number: int
    state: State
    time: float
    owner: str
    attempt: int
    name: str | None = None
    reason: str | None = None
    correlation: str = ""
    hops: int = 0
    callback: str | None = None

    def __post_init__(self) -> None:
        if not self.correlation:
            object.__setattr__(self, "correlation", self.task)

    @property
    def id(self) -> str:
        """The message id: the same each time that this event is sent."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.task}/{self.number}"))
