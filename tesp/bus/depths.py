"""How full the queues of a broker are: what one process measures and others show. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import orjson


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue: how many messages wait in it, and how many take them."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The queues of a broker that are there, or why they could not be looked at."""

    queues: Sequence[Depth] = ()
    error: str | None = None

    def text(self) -> str:
        """As JSON."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def of(cls, text: str) -> "Measured":
        """The inverse of `text`."""
        known = orjson.loads(text)
        return cls([Depth(**queue) for queue in known["queues"]], known["error"])
