"""A stall between what the server's clock says and our look at ours does not count."""

import pytest

from tesp.store.mongo.clock import ahead_seconds

AHEAD = 1000.0


class Server:
    """Its clock is `AHEAD` of ours; each answer is so many seconds on its way."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)
        self.now = 5.0

    async def look(self) -> float:
        there = self.now + AHEAD
        self.now += self.seconds.pop(0)
        return there

    async def ahead(self) -> float:
        return await ahead_seconds(self.look, lambda: self.now)


@pytest.mark.parametrize(
    ("seconds", "off", "left"),
    [
        ((0.01, 0.0), 0.01, 1),
        ((3.0, 0.02, 0.0), 0.02, 1),
        ((3.0, 0.5, 0.125, 2.0, 1.0, 0.0), 0.125, 1),
    ],
)
async def test_the_quickest_of_a_few_answers_counts(
    seconds: tuple[float, ...], off: float, left: int
) -> None:
    server = Server(*seconds)
    assert AHEAD - await server.ahead() == pytest.approx(off)
    assert len(server.seconds) == left
