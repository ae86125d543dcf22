"""Who may look at a job, and when."""

import asyncio

from tesp.backends.pulsar.polling import Polling


class Crowd:
    """Those who look, one at once, and the order in which they did."""

    def __init__(self) -> None:
        self.polling = Polling(at_once=1)
        self.order: list[str] = []
        self.holds = asyncio.Event()

    async def hold(self) -> None:
        async with self.polling.turn(0):
            await self.holds.wait()

    async def look(self, name: str, due: float) -> None:
        async with self.polling.turn(due):
            self.order.append(name)


async def rest() -> None:
    """Let every task come as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_has_been_due_for_longest_goes_first() -> None:
    crowd = Crowd()
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.hold())
        await rest()
        for name, due in (("last", 3.0), ("first", 1.0), ("second", 2.0)):
            group.create_task(crowd.look(name, due))
        await rest()
        assert crowd.order == []
        crowd.holds.set()
    assert crowd.order == ["first", "second", "last"]


async def test_a_turn_that_is_not_wanted_any_more_goes_to_the_next() -> None:
    crowd = Crowd()
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.hold())
        await rest()
        leaving = group.create_task(crowd.look("leaves", 1.0))
        group.create_task(crowd.look("stays", 2.0))
        await rest()
        crowd.holds.set()
        leaving.cancel()
    async with crowd.polling.turn(0):
        crowd.order.append("after")
    assert crowd.order == ["stays", "after"]


async def test_nobody_looks_before_his_time() -> None:
    polling, clock = Polling(), asyncio.get_running_loop().time
    due = clock() + 0.05
    async with polling.turn(due):
        assert clock() >= due


async def test_old_jobs_and_many_jobs_are_looked_at_less_often() -> None:
    polling = Polling(longest_seconds=3.0)
    assert polling.pause(0.1) < 0.05
    assert polling.pause(0.1) < polling.pause(10) < polling.pause(600) == 3.0
    async with polling.followed():
        for _ in range(100):
            await polling.followed().__aenter__()
        assert polling.pause(0.1) > 0.3
