"""The exit codes of `tesp`: scripts depend on them."""

from collections.abc import Iterable
from enum import IntEnum

from tesp.errors import (
    BusRefused,
    BusUnavailable,
    Conflict,
    InvalidTask,
    NotFound,
    RequestRefused,
    ServiceUnreachable,
    SettingsError,
    TespError,
)
from tesp.tes.states import State


class Code(IntEnum):
    """How the program ended."""

    DONE = 0  # every task that it stands for is COMPLETE
    TASK_FAILED = 1  # EXECUTOR_ERROR: a command of the task failed
    REFUSED = 2  # wrong usage, a task that is refused, an unknown id, no right to it
    SYSTEM_FAILED = 3  # SYSTEM_ERROR or PREEMPTED: the service or the machine failed
    CANCELED = 4
    UNREACHABLE = 5  # the service does not answer, or not as a task service does
    BROKEN = 6  # anything else that tesp could not do
    SPOOLED = 75  # `bus send`: no broker took the message, it waits on disk; as EX_TEMPFAIL
    TIMED_OUT = 124  # `wait --timeout`, as of timeout(1)
    INTERRUPTED = 130


TABLE = """\
Exit codes:

- 0: all tasks are COMPLETE, or the command did its work
- 1: EXECUTOR_ERROR, a command of the task failed
- 2: wrong usage, a refused task, an unknown id
- 3: SYSTEM_ERROR or PREEMPTED
- 4: CANCELED
- 5: the service or the broker cannot be reached
- 6: anything else
- 75: the message waits on disk, for no broker takes it now
- 124: the time is up
- 130: Ctrl-C

Of several tasks the gravest end counts: 3, then 1, then 4."""

_OF_STATE = {
    State.COMPLETE: Code.DONE,
    State.EXECUTOR_ERROR: Code.TASK_FAILED,
    State.SYSTEM_ERROR: Code.SYSTEM_FAILED,
    State.PREEMPTED: Code.SYSTEM_FAILED,
    State.CANCELED: Code.CANCELED,
}
_GRAVITY = (Code.DONE, Code.CANCELED, Code.TASK_FAILED, Code.SYSTEM_FAILED)
_OF_ERROR: dict[type[TespError], Code] = {
    InvalidTask: Code.REFUSED,
    NotFound: Code.REFUSED,
    Conflict: Code.REFUSED,
    RequestRefused: Code.REFUSED,
    SettingsError: Code.REFUSED,
    ServiceUnreachable: Code.UNREACHABLE,
    BusRefused: Code.REFUSED,
    BusUnavailable: Code.UNREACHABLE,
}


def code_of_states(states: Iterable[State]) -> Code:
    """The code for tasks that have ended: that of the gravest end."""
    return max((_OF_STATE[s] for s in states), key=_GRAVITY.index, default=Code.DONE)


def code_of_error(error: TespError) -> Code:
    """The code for an error that ended the program."""
    return next((c for kind, c in _OF_ERROR.items() if isinstance(error, kind)), Code.BROKEN)
