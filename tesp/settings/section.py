"""What every part of the settings is."""

from collections import Counter
from typing import Annotated, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """Frozen values; a key that it does not have is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Named(Protocol):
    """What is told from others by its name."""

    @property
    def name(self) -> str:
        """It."""
        ...


N = TypeVar("N", bound=Named)


def told_apart(several: tuple[N, ...]) -> tuple[N, ...]:
    """The same; raises ValueError where two of them have one name."""
    for name, count in Counter(one.name for one in several).items():
        if count > 1:
            raise ValueError(f"two of them are called {name}")
    return several


Distinct = Annotated[tuple[N, ...], AfterValidator(told_apart)]
"""Several, no two of one name."""
