"""What a service was given for brokers, over real ones that go away."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tesp.bus import Delivery, Message, Outlet
from tesp.bus.forwarder import Forwarder, SpoolLook
from tesp.bus.spool import Spool
from tesp.errors import MessageRefused
from tesp.settings import BrokerSettings
from tests.contract.bus.harness import GUEST, Site, up_to
from tests.contract.waiting import until
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer


@asynccontextmanager
async def running(*forwarders: Forwarder) -> AsyncIterator[None]:
    work = [asyncio.create_task(one.run()) for one in forwarders]
    try:
        yield
    finally:
        for one in work:
            one.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def site(url: str, **more: str) -> Site:
    return Site("own", BrokerSettings(name="m", url=url, **more), f"r{uuid.uuid4().hex}")


async def is_empty(forwarder: Forwarder) -> bool:
    return await forwarder.waiting() == 0


def ids(deliveries: list[Delivery]) -> list[str]:
    return list(dict.fromkeys(one.message.id for one in deliveries))


async def test_what_a_broker_that_is_away_was_to_get_comes_in_order_and_another_waits_for_nobody(
    own_mosquitto: MosquittoServer, rabbitmq: RabbitmqServer, tmp_path: Path
) -> None:
    here, there = site(own_mosquitto.url), site(f"amqp://127.0.0.1:{rabbitmq.port}", **GUEST)
    sent = [*here.messages(5), here.message()]
    async with (
        here.opened(client_id=f"c-{here.root}") as away,
        there.opened() as well,
        away.subscribe(f"{here.root}/#") as late,
        well.subscribe(f"{here.root}/#") as soon,
    ):
        own_mosquitto.stop()
        first = Forwarder("away", away, Spool(tmp_path / "away"))
        second = Forwarder("well", well, Spool(tmp_path / "well"))
        async with running(first, second):
            for message in sent[:-1]:
                await first.take([message])
                await second.take([message])
            assert ids(await up_to(soon, sent[-2])) == [one.id for one in sent[:-1]]
            (depth,) = await SpoolLook([first, second]).depths(["away"])
            assert (depth.messages, depth.consumers) == (5, 1)
        # As after a restart.
        again = Forwarder("away", away, Spool(tmp_path / "away"))
        async with running(again):
            await again.take(sent[-1:])
            await asyncio.to_thread(own_mosquitto.start)
            assert ids(await up_to(late, sent[-1])) == [one.id for one in sent]
            await until(lambda: is_empty(again))


class Once(Outlet):
    """Refuses what is called `bad`, and ends in the middle of what is called `slow`."""

    def __init__(self) -> None:
        self.got: list[list[str]] = []
        self.begun, self.end = asyncio.Event(), asyncio.Event()

    async def publish(self, messages: list[Message]) -> None:  # type: ignore[override]
        names = [one.id for one in messages]
        if "bad" in names:
            raise MessageRefused("it is bad")
        if "slow" in names:
            self.begun.set()
            await self.end.wait()
        self.got.append(names)


def named(*names: str) -> list[Message]:
    return [Message("t", {}, name, 1.0, "c") for name in names]


async def test_one_by_one_no_more_than_what_was_under_way_is_repeated(tmp_path: Path) -> None:
    outlet = Once()
    forwarder = Forwarder("o", outlet, Spool(tmp_path), at_once=1)
    await forwarder.take(named("a", "bad", "slow", "b"))
    async with running(forwarder):
        await outlet.begun.wait()
    assert await forwarder.waiting() == 2
    outlet.end.set()
    async with running(forwarder):
        await until(lambda: is_empty(forwarder))
    assert outlet.got == [["a"], ["slow"], ["b"]]
    assert "it is bad" in (tmp_path / "refused").read_text()


async def test_what_is_no_message_is_not_kept(tmp_path: Path) -> None:
    forwarder = Forwarder("o", Once(), Spool(tmp_path))
    with pytest.raises(MessageRefused):
        await forwarder.take([Message("a/+/b", {}, "i", 1.0, "c")])
    with suppress(FileNotFoundError):
        assert (tmp_path / "messages").read_bytes() == b""
