"""The table of states has no dead ends and no way out of an end."""

import pytest

from tesp.tes.states import INITIAL, TABLE, TERMINAL, State, Transition, sources, target

ENDING = {
    State.COMPLETE: "COMPLETE",
    State.EXECUTOR_ERROR: "EXECUTOR_ERROR",
    State.SYSTEM_ERROR: "SYSTEM_ERROR",
    State.CANCELED: "CANCELED",
    State.PREEMPTED: "PREEMPTED",
}


def reachable(start: State) -> set[State]:
    """Every state that a task in `start` can come to."""
    found, edge = set[State](), [start]
    while edge:
        state = edge.pop()
        following = {to for (source, _), to in TABLE.items() if source is state} - found
        found |= following
        edge.extend(following)
    return found


def test_the_terminal_states_are_those_of_tes() -> None:
    assert set(ENDING) == TERMINAL
    assert all(state == name for state, name in ENDING.items())


@pytest.mark.parametrize("state", sorted(TERMINAL))
def test_nothing_happens_to_a_task_that_ended(state: State) -> None:
    assert [target(state, transition) for transition in Transition] == [None] * len(Transition)


def test_a_new_task_can_come_to_every_end() -> None:
    assert reachable(INITIAL) >= TERMINAL


def test_every_state_on_the_way_can_still_end() -> None:
    for state in reachable(INITIAL) - TERMINAL:
        assert reachable(state) & TERMINAL


def test_paused_and_unknown_are_never_stored() -> None:
    assert not {State.PAUSED, State.UNKNOWN} & (reachable(INITIAL) | {INITIAL})


def test_every_state_that_is_not_terminal_can_be_cancelled() -> None:
    for state in (reachable(INITIAL) | {INITIAL}) - TERMINAL - {State.CANCELING}:
        to = target(state, Transition.CANCEL)
        assert to is State.CANCELING or (state is State.QUEUED and to is State.CANCELED)


def test_a_task_that_is_to_be_cancelled_can_only_end_so() -> None:
    assert reachable(State.CANCELING) == {State.CANCELED}


def test_between_two_attempts_there_is_no_terminal_state() -> None:
    assert set(sources(Transition.RETRY).values()) == {State.QUEUED}


def test_a_task_completes_only_after_it_ran() -> None:
    assert sources(Transition.COMPLETE) == {State.RUNNING: State.COMPLETE}
    assert sources(Transition.EXECUTOR_FAILED) == {State.RUNNING: State.EXECUTOR_ERROR}


@pytest.mark.parametrize("transition", list(Transition))
def test_sources_and_target_tell_the_same(transition: Transition) -> None:
    told = sources(transition)

    assert told
    assert {state: target(state, transition) for state in told} == told
    assert all(target(state, transition) is None for state in State if state not in told)
