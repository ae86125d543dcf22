"""A look at an AMQP broker: in, as far as publishing, and out again. Nothing stays there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from tesp.bus import Message, prodiguer
from tesp.bus.amqp_channel import BROKEN, connection, opened, translated
from tesp.cli.doctor.findings import ANSWER_SECONDS
from tesp.settings import BrokerSettings


@asynccontextmanager
async def entered(
    broker: BrokerSettings,
) -> AsyncIterator[Callable[[Message], Awaitable[None]]]:
    """Logged in; yields the attempt to publish. Raises BusUnavailable or BusRefused."""
    async with connection(broker) as there:
        yield partial(_attempt, broker, there)


async def _attempt(broker: BrokerSettings, there: AbstractConnection, message: Message) -> None:
    with translated(broker):
        async with (
            asyncio.timeout(ANSWER_SECONDS),
            _exchange_as_it_was(broker.exchange, there),
            # As the service opens it: it declares the exchange where it is not there.
            opened(broker) as whole,
        ):
            await _publish_and_take_back(broker, whole.connection, message)


@asynccontextmanager
async def _exchange_as_it_was(exchange: str, there: AbstractConnection) -> AsyncIterator[None]:
    """One that is not there before is not there afterwards, unless others have taken to it."""
    was_there = await _has(exchange, there)
    try:
        yield
    finally:
        if not was_there:
            with contextlib.suppress(*BROKEN):
                async with asyncio.timeout(ANSWER_SECONDS), there.channel() as channel:
                    await channel.exchange_delete(exchange, if_unused=True)


async def _has(exchange: str, there: AbstractConnection) -> bool:
    with contextlib.suppress(ChannelNotFoundEntity):
        async with there.channel() as channel:
            await channel.get_exchange(exchange, ensure=True)
            return True
    return False


async def _publish_and_take_back(
    broker: BrokerSettings, there: AbstractConnection, message: Message
) -> None:
    """The broker judges each message of a transaction as it comes, and sends them on only when
    that is committed."""
    envelope = prodiguer.enveloped(message, broker.exchange)
    channel = await there.channel(publisher_confirms=False)
    transaction = channel.transaction()
    await transaction.select()
    exchange = await channel.get_exchange(broker.exchange, ensure=False)
    sent = aio_pika.Message(
        envelope.body,
        headers={"CC": list(envelope.also)},
        user_id=broker.username or "guest",
    )
    await exchange.publish(sent, envelope.key, mandatory=False)
    await transaction.rollback()
