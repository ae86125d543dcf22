"""The two faces of the API: all states of TES 1.1, and those that older clients know."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tesp.tes.states import State

# A client of TES 1.0 takes a state that it does not know for an end, or polls for ever.
_OLDER: Mapping[State, State] = {
    State.CANCELING: State.RUNNING,
    State.PREEMPTED: State.SYSTEM_ERROR,
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """A prefix of the API, and the states that are shown there in place of others."""

    prefix: str
    instead: Mapping[State, State] = field(default_factory=dict)

    def show(self, state: State) -> State:
        """The state as clients of this prefix see it."""
        return self.instead.get(state, state)

    def stored(self, shown: State) -> frozenset[State]:
        """The states that clients of this prefix see as `shown`."""
        return frozenset(s for s in State if self.show(s) is shown)


def dialects(legacy_states: bool) -> tuple[Dialect, Dialect]:
    """The current prefix, then the one of older clients."""
    return Dialect("/ga4gh/tes/v1"), Dialect("/v1", _OLDER if legacy_states else {})
