"""What every bus promises, over each of the brokers."""

import asyncio
import dataclasses
import logging

import orjson
import pytest

from tesp.bus import Delivery
from tesp.errors import BusRefused, MessageRefused
from tests.contract.bus.harness import KINDS, NETWORK, Site, take, until, up_to

every = pytest.mark.parametrize("here", KINDS, indirect=True)
network = pytest.mark.parametrize("here", NETWORK, indirect=True)


def same(here: Site, delivery: Delivery) -> object:
    """A message without what only AMQP and memory carry."""
    return dataclasses.replace(
        delivery.message, key=None, type=None, headers={}, time=int(delivery.message.time)
    )


@every
async def test_messages_arrive_whole_and_in_the_order_in_which_they_were_published(
    here: Site,
) -> None:
    sent = here.messages(250)
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        await bus.publish(sent[:1])
        await bus.publish(sent[1:])
        came = await take(deliveries, len(sent))
    wanted = [dataclasses.replace(m, key=None, type=None, time=int(m.time)) for m in sent]
    assert [same(here, delivery) for delivery in came] == wanted
    assert list(orjson.loads(came[0].raw))[:1] == ["number"]


@every
async def test_only_what_matches_a_filter_comes(here: Site) -> None:
    below = ["x/status", "x/control", "x/y/status", "status"]
    async with here.opened() as bus:
        for pattern, matched in {
            "+/status": ["x/status"],
            "x/#": ["x/status", "x/control", "x/y/status"],
            "x/y/status": ["x/y/status"],
            "+/+/+": ["x/y/status"],
        }.items():
            async with bus.subscribe(f"{here.root}/{pattern}", f"{here.root}/end") as deliveries:
                last = here.message("end")
                await bus.publish([*(here.message(one) for one in below), last])
                topics = [d.message.topic for d in await up_to(deliveries, last)]
            assert topics == [f"{here.root}/{one}" for one in [*matched, "end"]]


@every
async def test_filters_that_overlap_give_one_copy(here: Site) -> None:
    root = here.root
    overlapping = (f"{root}/#", f"{root}/+/x", f"{root}/a/x")
    crossing = (f"{root}/+/x", f"{root}/a/#", "+/a/x", f"{root}/end")
    for filters in (overlapping, crossing):
        sent, last = here.messages(20, "a/x"), here.message("end")
        async with here.opened() as bus, bus.subscribe(*filters) as deliveries:
            await bus.publish(sent)
            ids = [delivery.message.id for delivery in await take(deliveries, len(sent))]
            await bus.publish([last])
            ids += await until(deliveries, last)
        assert ids == [message.id for message in [*sent, last]]


@every
async def test_each_subscription_gets_its_own_copy(here: Site) -> None:
    pattern = f"{here.root}/#"
    async with here.opened() as bus, bus.subscribe(pattern) as one, bus.subscribe(pattern) as other:
        sent = here.messages(3)
        await bus.publish(sent)
        for deliveries in (one, other):
            assert await until(deliveries, sent[-1]) == [message.id for message in sent]


@every
async def test_a_bus_that_is_closed_ends_its_subscriptions(here: Site) -> None:
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        waiting = asyncio.ensure_future(anext(deliveries, None))
        await asyncio.sleep(0)
        await bus.close()
        async with asyncio.timeout(30):
            assert await waiting is None


@every
async def test_a_message_that_cannot_be_sent_is_refused_and_holds_up_no_other(here: Site) -> None:
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        for wrong in (
            here.message("a/#"),
            here.message("\0"),
            here.message(text="x" * 1_000_000),
            here.message(nested=["flat", "it", "is", "not"]),  # type: ignore[arg-type]
        ):
            with pytest.raises(MessageRefused):
                await bus.publish([wrong])
        good = here.message()
        await bus.publish([good])
        assert await until(deliveries, good) == [good.id]


@every
async def test_what_is_no_filter_is_refused(here: Site) -> None:
    async with here.opened() as bus:
        for wrong in ("", "a#", "#/a", "a+/b"):
            with pytest.raises(BusRefused, match="is no filter"):
                async with bus.subscribe(wrong):
                    pass


@network
async def test_what_is_no_message_is_dropped_with_a_line_in_the_log(
    here: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    hostile = [
        bytes(range(256)),
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        orjson.dumps({"a": "x" * 1_000_000}),
        b'{"nested": {"a": 1}}',
        b"[1, 2]",
        b'{"hops": -1, "status": "finished"}',
        b'{"message_id": 7}',
        b"",
    ]
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        await here.send_raw("x", *hostile, b'{"PATH": "/tmp", "status": "finished"}')
        (delivery,) = await take(deliveries, 1)
    assert delivery.message.payload == {"PATH": "/tmp", "status": "finished"}
    assert delivery.message.correlation == delivery.message.id
    assert delivery.message.hops == 0
    assert sum("dropped a message" in line for line in caplog.messages) == len(hostile)


@network
async def test_what_comes_while_nobody_listens_is_kept_for_a_client_with_a_name(
    here: Site,
) -> None:
    sent = here.messages(5)
    client = {"client_id": f"client-{here.root}"}
    async with here.opened() as publisher:
        async with here.opened(**client) as bus, bus.subscribe(f"{here.root}/#"):
            pass
        await publisher.publish(sent)
        async with here.opened(**client) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
            assert await until(deliveries, sent[-1]) == [message.id for message in sent]


@network
async def test_what_was_not_dealt_with_comes_again(here: Site) -> None:
    first, second, third = sent = here.messages(3)
    client = {"client_id": f"client-{here.root}"}
    async with here.opened() as publisher:
        async with here.opened(**client) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
            await publisher.publish(sent)
            assert [d.message.id for d in await take(deliveries, 2)] == [first.id, second.id]
        async with here.opened(**client) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
            assert await until(deliveries, third) == [second.id, third.id]


@network
async def test_two_subscriptions_under_one_name_are_refused(here: Site) -> None:
    async with here.opened(client_id=f"client-{here.root}") as bus:
        async with bus.subscribe(f"{here.root}/a", name="one"):
            with pytest.raises(BusRefused, match="name of its own"):
                async with bus.subscribe(f"{here.root}/b", name="one"):
                    pass
            async with bus.subscribe(f"{here.root}/b", name="other"):
                pass
        async with bus.subscribe(f"{here.root}/a", name="one"):
            pass


@pytest.mark.parametrize("here", ["rabbitmq-mqtt", "rabbitmq-amqp"], indirect=True)
async def test_wrong_credentials_are_refused_with_what_to_mend(here: Site) -> None:
    async with here.opened(username="alice", password="wrong") as bus:
        with pytest.raises(BusRefused, match="refuses the user alice"):
            await bus.publish([here.message()])
        with pytest.raises(BusRefused, match="refuses the user alice"):
            async with bus.subscribe("#"):
                pass
