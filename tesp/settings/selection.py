"""Which tasks a rule is about."""

from collections.abc import Mapping

from pydantic import Field, model_validator

from tesp.settings.section import Section
from tesp.tes.states import State
from tesp.tes.tags import has


class Selection(Section):
    """All events, or some."""

    states: tuple[State, ...] = Field((), description="Of these states alone; none: of all")
    name_prefix: str = Field("", description="Of tasks whose name begins so")
    owner: str | None = Field(None, description="Of one owner's tasks")


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
