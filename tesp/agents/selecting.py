"""Whether an event is one that somebody wants to hear of."""

from tesp.events import Event
from tesp.settings import Selection


def wants(selection: Selection, event: Event) -> bool:
    """Whether it is of the states, the names and the owner that were chosen."""
    return (
        (not selection.states or event.state in selection.states)
        and (event.name or "").startswith(selection.name_prefix)
        and selection.owner in (None, event.owner)
    )
