"""How long to wait between two looks at the service: short at first, then ever longer."""

from collections.abc import Iterator

FIRST_SECONDS = 0.05
LONGEST_SECONDS = 2.0
_GROWTH = 1.3


class Pauses(Iterator[float]):
    """50 ms at first, up to 2 s while nothing happens; `news` begins anew."""

    def __init__(self) -> None:
        self._next = FIRST_SECONDS

    def __next__(self) -> float:
        pause = self._next
        self._next = min(LONGEST_SECONDS, pause * _GROWTH)
        return pause

    @property
    def first(self) -> bool:
        """Whether the next pause is the first one."""
        return self._next == FIRST_SECONDS

    def news(self) -> None:
        """Something happened: more may follow soon."""
        self._next = FIRST_SECONDS
