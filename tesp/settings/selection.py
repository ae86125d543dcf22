"""Which tasks a rule is about."""

from collections.abc import Mapping

from pydantic import Field, field_validator, model_validator

from tesp.settings.section import Section
from tesp.tes.states import INITIAL, TABLE, State
from tesp.tes.tags import has

_STATES = frozenset({INITIAL, *TABLE.values()})


class Selection(Section):
    """All events, or some."""

    states: tuple[State, ...] = Field((), description="Of these states alone; none: of all")
    name_prefix: str = Field("", description="Of tasks whose name begins so")
    owner: str | None = Field(None, min_length=1, description="Of one owner's tasks")

    @field_validator("states")
    @classmethod
    def _are_reached(cls, states: tuple[State, ...]) -> tuple[State, ...]:
        if never := [state for state in states if state not in _STATES]:
            raise ValueError(
                f"no task is ever {never[0]}: say some of {', '.join(sorted(_STATES))}"
            )
        return states


class Tagged(Section):
    """All tasks, or those with a tag."""

    tag: str | None = Field(None, min_length=1, description="Of tasks with this tag")
    value: str | None = Field(None, description="The tag's; default: any")

    @model_validator(mode="after")
    def _asks_for_a_value_of_something(self) -> "Tagged":
        if self.value is not None and self.tag is None:
            raise ValueError("value is that of a tag: set tag, too")
        return self

    def fits(self, tags: Mapping[str, str]) -> bool:
        """Whether a task with these tags is meant."""
        return self.tag is None or has(tags, self.tag, self.value)
