"""The exit codes."""

import pytest

from tesp.cli.codes import TABLE, Code, code_of_error, code_of_states
from tesp.errors import InvalidTask, NotFound, Problem, ServiceUnreachable, TespError
from tesp.tes.states import TERMINAL, State


def test_only_complete_is_zero() -> None:
    assert [s for s in TERMINAL if code_of_states([s]) == 0] == [State.COMPLETE]


def test_every_state_that_a_task_can_end_in_has_a_code() -> None:
    assert {code_of_states([s]) for s in TERMINAL} == {0, 1, 3, 4}


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.COMPLETE, State.CANCELED], Code.CANCELED),
        ([State.EXECUTOR_ERROR, State.CANCELED], Code.TASK_FAILED),
        ([State.SYSTEM_ERROR, State.EXECUTOR_ERROR, State.COMPLETE], Code.SYSTEM_FAILED),
        ([], Code.DONE),
    ],
)
def test_of_several_tasks_the_gravest_end_counts(states: list[State], code: Code) -> None:
    assert code_of_states(states) is code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidTask([Problem("executors", "missing")]), Code.REFUSED),
        (NotFound("no such task"), Code.REFUSED),
        (ServiceUnreachable("nobody there"), Code.UNREACHABLE),
        (TespError("else"), Code.BROKEN),
    ],
)
def test_every_error_has_a_code(error: TespError, code: Code) -> None:
    assert code_of_error(error) is code


def test_the_help_names_every_code() -> None:
    assert all(f"- {code.value}: " in TABLE for code in Code)
