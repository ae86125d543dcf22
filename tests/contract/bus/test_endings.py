"""Brokers that are stopped, killed or silent, and come back."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import pytest

from tesp.bus import Bus, Delivery, Message
from tesp.errors import BusUnavailable
from tesp.settings import BrokerSettings
from tests.contract.bus.harness import GUEST, Site, up_to
from tests.peers.mosquitto import MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room


class Broker(Protocol):
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def start(self) -> None: ...


@pytest.fixture(scope="module")
def mortal_rabbitmq() -> Iterator[RabbitmqServer]:
    """One that the tests here may kill."""
    with Room.temporary() as room:
        yield RabbitmqServer.boot(room)


def sites_of_rabbitmq(server: RabbitmqServer) -> list[Site]:
    amqp = {"name": "amqp", "url": f"amqp://127.0.0.1:{server.port}"}
    mqtt = {"name": "mqtt", "url": f"mqtt://127.0.0.1:{server.mqtt_port}", **GUEST}
    return [_site(amqp), _site(mqtt)]


def _site(settings: dict[str, str]) -> Site:
    return Site(settings["name"], BrokerSettings(**settings), f"r{uuid.uuid4().hex}")  # type: ignore[arg-type]


async def publish_for_ever(bus: Bus, messages: list[Message]) -> None:
    """One after another, each until it is confirmed."""
    for message in messages:
        while True:
            try:
                await bus.publish([message])
                break
            except BusUnavailable:
                await asyncio.sleep(0.05)


async def through_two_ends(sites: list[Site], broker: Broker, *ends: Callable[[], None]) -> None:
    """Publish and listen while the broker is ended and started twice: all arrives, and nothing
    comes before what was published before it."""
    counts = range(len(sites))
    sent = [site.messages(60) for site in sites]
    # What comes is kept while the broker is away: the subscriptions have names.
    buses = [site.bus(client_id=f"client-{site.root}") for site in sites]
    subscriptions = [buses[n].subscribe(f"{sites[n].root}/#") for n in counts]
    deliveries = [await subscription.__aenter__() for subscription in subscriptions]
    listening = [asyncio.create_task(up_to(deliveries[n], sent[n][-1])) for n in counts]
    for part, end in zip((slice(0, 20), slice(20, 40)), ends, strict=True):
        publishing = [
            asyncio.create_task(publish_for_ever(buses[n], sent[n][part])) for n in counts
        ]
        await asyncio.to_thread(end)
        await asyncio.to_thread(broker.start)
        await asyncio.gather(*publishing)
    await asyncio.gather(*(publish_for_ever(buses[n], sent[n][40:]) for n in counts))
    for n, came in enumerate(await asyncio.gather(*listening)):
        ids = list(dict.fromkeys(delivery.message.id for delivery in came))
        assert ids == [message.id for message in sent[n]]
    for n in counts:
        await subscriptions[n].__aexit__(None, None, None)
        await buses[n].close()


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_all_arrives_in_order_although_mosquitto_is_stopped_twice(
    own_mosquitto: MosquittoServer, version: str
) -> None:
    # It confirms before it writes: what SIGKILL takes from it is lost.
    here = _site({"name": "mosquitto", "url": own_mosquitto.url, "version": version})
    await through_two_ends([here], own_mosquitto, own_mosquitto.stop, own_mosquitto.stop)


async def test_all_arrives_in_order_although_rabbitmq_is_killed_and_stopped(
    mortal_rabbitmq: RabbitmqServer,
) -> None:
    sites = sites_of_rabbitmq(mortal_rabbitmq)
    await through_two_ends(sites, mortal_rabbitmq, mortal_rabbitmq.kill, mortal_rabbitmq.stop)


async def resubscribed(site: Site, bus: Bus, deliveries: AsyncIterator[Delivery]) -> Delivery:
    """Publish until something comes: the subscription has been made anew."""
    coming = asyncio.ensure_future(anext(deliveries))
    async with asyncio.timeout(60):
        while not coming.done():
            await publish_for_ever(bus, [site.message()])
            await asyncio.wait([coming], timeout=0.2)
    return await coming


async def test_a_subscription_without_a_name_goes_on_by_itself(
    own_mosquitto: MosquittoServer,
) -> None:
    here = _site({"name": "mosquitto", "url": own_mosquitto.url})
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        await asyncio.to_thread(own_mosquitto.kill)
        with pytest.raises(BusUnavailable, match="out of reach"):
            await bus.publish([here.message()])
        await asyncio.to_thread(own_mosquitto.start)
        assert (await resubscribed(here, bus, deliveries)).message.topic == f"{here.root}/a"


async def test_a_subscription_waits_for_a_broker_that_is_not_there_yet(
    own_mosquitto: MosquittoServer,
) -> None:
    here = _site({"name": "mosquitto", "url": own_mosquitto.url})
    own_mosquitto.stop()
    async with here.opened() as bus:
        subscription = bus.subscribe(f"{here.root}/#")
        entering = asyncio.ensure_future(subscription.__aenter__())
        with pytest.raises(BusUnavailable):
            await bus.publish([here.message()])
        assert not entering.done()
        await asyncio.to_thread(own_mosquitto.start)
        async with asyncio.timeout(60):
            deliveries = await entering
        sent = here.message()
        await bus.publish([sent])
        assert [d.message.id for d in await up_to(deliveries, sent)] == [sent.id]
        await subscription.__aexit__(None, None, None)


async def test_a_broker_that_says_nothing_is_out_of_reach_until_it_speaks_again(
    own_mosquitto: MosquittoServer,
) -> None:
    here = _site({"name": "mosquitto", "url": own_mosquitto.url})
    async with here.opened() as bus:
        await bus.publish([here.message()])
        with own_mosquitto.stalled(), pytest.raises(BusUnavailable, match="no answer in time"):
            await bus.publish([here.message()])
        await publish_for_ever(bus, [here.message()])


async def test_rabbitmq_that_says_nothing_is_out_of_reach_until_it_speaks_again(
    mortal_rabbitmq: RabbitmqServer,
) -> None:
    here = sites_of_rabbitmq(mortal_rabbitmq)[0]
    async with here.opened() as bus:
        await bus.publish([here.message()])
        with mortal_rabbitmq.stalled(), pytest.raises(BusUnavailable, match="no answer in time"):
            await bus.publish([here.message()])
        await publish_for_ever(bus, [here.message()])
