"""The bus at a broker of docker/, as its users have it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tesp.bus import Bus, Delivery, Message, brokers
from tesp.settings import BrokerSettings
from tests.peers.guarded_brokers import password_of


def bus_at(url: str, user: str, **more: Any) -> Bus:
    """The bus as this user has it."""
    login = {"username": user, "password": password_of(user)}
    return brokers.one(BrokerSettings(name=user, url=url, **login, **more))


@contextlib.asynccontextmanager
async def hearing(bus: Bus, *topics: str) -> AsyncIterator[AsyncIterator[Delivery]]:
    """What comes there from now on."""
    try:
        async with bus.subscribe(*topics) as deliveries:
            yield deliveries
    finally:
        await bus.close()


async def say(bus: Bus, *messages: Message) -> None:
    """Say it all, and leave."""
    try:
        await bus.publish(messages)
    finally:
        await bus.close()


async def next_of(deliveries: Any, mark: str) -> Message:
    """The next of this test."""
    return (await next_delivery_of(deliveries, mark)).message


async def next_delivery_of(deliveries: Any, mark: str) -> Delivery:
    """The next of this test, and whether the broker vouches for it."""
    async for delivery in deliveries:
        if delivery.message.correlation == mark:
            found: Delivery = delivery
            return found
    raise AssertionError("no more came")
