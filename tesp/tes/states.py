"""The states of a task and the one table of what may become what.

What is absent from TABLE cannot happen. Stores guard each write by it, the README's diagram
is drawn from it.
"""

from enum import StrEnum


class State(StrEnum):
    """The states of TES 1.1."""

    UNKNOWN = "UNKNOWN"
    QUEUED = "QUEUED"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETE = "COMPLETE"
    EXECUTOR_ERROR = "EXECUTOR_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"
    CANCELED = "CANCELED"
    PREEMPTED = "PREEMPTED"
    CANCELING = "CANCELING"


class Transition(StrEnum):
    """What may happen to a stored task."""

    CLAIM = "claim"
    START = "start"
    COMPLETE = "complete"
    EXECUTOR_FAILED = "executor_failed"
    SYSTEM_FAILED = "system_failed"
    PREEMPT = "preempt"
    RETRY = "retry"
    REQUEUE = "requeue"
    CANCEL = "cancel"
    END_CANCEL = "end_cancel"


INITIAL = State.QUEUED

TABLE: dict[tuple[State, Transition], State] = {
    (State.QUEUED, Transition.CLAIM): State.INITIALIZING,
    (State.QUEUED, Transition.CANCEL): State.CANCELED,
    (State.INITIALIZING, Transition.START): State.RUNNING,
    (State.INITIALIZING, Transition.SYSTEM_FAILED): State.SYSTEM_ERROR,
    (State.INITIALIZING, Transition.PREEMPT): State.PREEMPTED,
    (State.INITIALIZING, Transition.RETRY): State.QUEUED,
    (State.INITIALIZING, Transition.REQUEUE): State.QUEUED,
    (State.INITIALIZING, Transition.CANCEL): State.CANCELING,
    (State.RUNNING, Transition.COMPLETE): State.COMPLETE,
    (State.RUNNING, Transition.EXECUTOR_FAILED): State.EXECUTOR_ERROR,
    (State.RUNNING, Transition.SYSTEM_FAILED): State.SYSTEM_ERROR,
    (State.RUNNING, Transition.PREEMPT): State.PREEMPTED,
    (State.RUNNING, Transition.RETRY): State.QUEUED,
    (State.RUNNING, Transition.CANCEL): State.CANCELING,
    (State.CANCELING, Transition.END_CANCEL): State.CANCELED,
}

TERMINAL = frozenset(
    {
        State.COMPLETE,
        State.EXECUTOR_ERROR,
        State.SYSTEM_ERROR,
        State.CANCELED,
        State.PREEMPTED,
    }
)

# A cancel is what somebody asked for.
ENDED_BADLY = (State.EXECUTOR_ERROR, State.SYSTEM_ERROR, State.PREEMPTED)


def target(state: State, transition: Transition) -> State | None:
    """The state that `transition` leads to from `state`, None where it cannot happen."""
    return TABLE.get((state, transition))


def sources(transition: Transition) -> dict[State, State]:
    """Every state in which `transition` may happen, with the state that it leads to."""
    return {source: to for (source, t), to in TABLE.items() if t is transition}
