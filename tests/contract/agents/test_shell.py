"""The shell listener on the bus within the process, where what comes comes at one stroke."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tesp.agents.announcer import Announcer
from tesp.agents.shell import Orders, ShellListener
from tesp.bus import Delivery, Message
from tesp.bus.memory import MemoryBus
from tesp.bus.sender import Sender
from tesp.bus.spool import Spool
from tests.contract.waiting import until

CONTROL = "t/infrastructure/pipelines/me/control"
STATUS = "t/infrastructure/pipelines/me/status"


def order(name: str, action: str) -> Message:
    return Message(CONTROL, {"action": action}, name, 1.0, name)


class Subscribed(MemoryBus):
    """Tells when its listeners are there."""

    def __init__(self) -> None:
        super().__init__()
        self.open = 0

    @asynccontextmanager
    async def subscribe(
        self, *patterns: str, name: str | None = None
    ) -> AsyncIterator[AsyncIterator[Delivery]]:
        async with super().subscribe(*patterns, name=name) as deliveries:
            self.open += 1
            yield deliveries


async def test_a_cancel_right_after_a_raise_ends_what_was_raised(tmp_path: Path) -> None:
    bus = Subscribed()
    orders = Orders("t/+/status", "exec sleep 600", "me", "t", grace_seconds=600)
    listener = ShellListener(bus, Announcer(Sender(bus, Spool(tmp_path))), orders, kept=False)
    stop = asyncio.Event()
    async with bus.subscribe(STATUS) as told:
        running = asyncio.create_task(listener.run(stop, asyncio.Event()))
        await until(lambda: bus.open == 3)
        await bus.publish([order("r", "raise"), order("c", "cancel")])
        async with asyncio.timeout(60):
            said = [(await anext(told)).message.payload for _ in range(2)]
        stop.set()
        await running
    assert [one["status"] for one in said] == ["started", "failed"]
    assert (said[1]["reason"], said[1]["return_code"]) == ("canceled by control message", -15)
