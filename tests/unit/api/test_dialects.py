"""What older clients see in place of the states that they do not know."""

from tesp.api.dialects import dialects
from tesp.tes.states import State


def test_the_current_prefix_shows_every_state_as_it_is() -> None:
    current, _ = dialects(legacy_states=True)
    assert [current.show(s) for s in State] == list(State)


def test_showing_and_filtering_are_each_others_inverse() -> None:
    for dialect in dialects(legacy_states=True):
        for state in State:
            assert state in dialect.stored(dialect.show(state))
            assert all(dialect.show(s) is state for s in dialect.stored(state))


def test_older_clients_never_see_canceling_and_preempted() -> None:
    _, older = dialects(legacy_states=True)
    assert older.stored(State.RUNNING) == {State.RUNNING, State.CANCELING}
    assert older.stored(State.SYSTEM_ERROR) == {State.SYSTEM_ERROR, State.PREEMPTED}
    assert older.stored(State.CANCELING) == older.stored(State.PREEMPTED) == frozenset()
