"""What every part of the settings is."""

from collections import Counter
from collections.abc import Callable
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


S = TypeVar("S")
N = TypeVar("N", bound=Named)


def told_apart(several: tuple[S, ...], what: Callable[[S], str]) -> tuple[S, ...]:
    """The same; raises ValueError where two of them are `what`: of two only one could work."""
    for said, count in Counter(map(what, several)).items():
        if count > 1:
            raise ValueError(f"two of them are {said}")
    return several


def _by_name(several: tuple[N, ...]) -> tuple[N, ...]:
    return told_apart(several, lambda one: f"called {one.name}")


Distinct = Annotated[tuple[N, ...], AfterValidator(_by_name)]
"""Several, no two of one name."""
