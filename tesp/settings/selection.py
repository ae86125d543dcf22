"""Which tasks somebody wants to hear of."""

from pydantic import Field

from tesp.settings.section import Section
from tesp.tes.states import State


class Selection(Section):
    """All events, or some."""

    states: tuple[State, ...] = Field((), description="Of these states alone; none: of all")
    name_prefix: str = Field("", description="Of tasks whose name begins so")
    owner: str | None = Field(None, description="Of one owner's tasks")
