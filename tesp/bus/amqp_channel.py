"""One connection to an AMQP broker with its channel and exchange."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    ChannelNotFoundEntity,
    ProtocolSyntaxError,
)
from aiormq.exceptions import (
    AuthenticationError,
    ChannelAccessRefused,
    ChannelPreconditionFailed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)
from yarl import URL

from tesp.errors import BusError, BusRefused, BusUnavailable
from tesp.settings import BrokerSettings

ANSWER_SECONDS = 10.0
_HEARTBEAT_SECONDS = 20
# TimeoutError is an OSError, and is among them.
BROKEN = CONNECTION_EXCEPTIONS
_DENIED = (AuthenticationError, ProbableAuthenticationError, ConnectionNotAllowed)


@dataclass(frozen=True, slots=True)
class Opened:
    """`ended` is set when any of it is closed, by whomever."""

    connection: AbstractConnection
    channel: AbstractChannel
    exchange: AbstractExchange
    ended: asyncio.Event


@asynccontextmanager
async def opened(broker: BrokerSettings, unacknowledged: int = 0) -> AsyncIterator[Opened]:
    """A connection with confirms, and the exchange there; raises BusUnavailable or BusRefused.

    `unacknowledged` is how many messages the broker may send ahead of their acknowledgement.
    """
    async with connection(broker) as there:
        with translated(broker):
            async with asyncio.timeout(ANSWER_SECONDS):
                whole = await _equipped(there, broker.exchange, unacknowledged)
        yield whole


@asynccontextmanager
async def connection(broker: BrokerSettings) -> AsyncIterator[AbstractConnection]:
    """A connection and no more; raises BusUnavailable or BusRefused."""
    with translated(broker):
        async with asyncio.timeout(ANSWER_SECONDS):
            there = await _connect(broker)
    try:
        yield there
    finally:
        with contextlib.suppress(*BROKEN):
            async with asyncio.timeout(ANSWER_SECONDS):
                await there.close()


@contextlib.contextmanager
def translated(broker: BrokerSettings) -> Iterator[None]:
    """Turn what the library raises into ours."""
    try:
        yield
    except BROKEN as error:
        raise problem(broker, error) from error


def problem(broker: BrokerSettings, error: BaseException) -> BusError:
    """What an exception of the library means."""
    where = f"The broker {broker.name} at {broker.host}:{broker.port}"
    user = f"the user {broker.username}" if broker.username else "guest"
    if isinstance(error, _DENIED):
        return BusRefused(
            f"{where} refuses {user}: see username, password, and the virtual host in url."
        )
    if isinstance(error, ssl.SSLCertVerificationError) or isinstance(
        error.__cause__, ssl.SSLCertVerificationError
    ):
        return BusRefused(
            f"{where}: its certificate is not trusted: see ca_file and the host in url."
        )
    if isinstance(error, ChannelAccessRefused):
        return BusRefused(f"{where}: see what it permits {user}: {reason(error)}")
    if isinstance(error, ChannelPreconditionFailed):
        return BusRefused(
            f"{where} has something of that name and another kind: see exchange and client_id "
            f"({reason(error)})"
        )
    return BusUnavailable(f"{where} is out of reach: {reason(error)}.")


def reason(error: BaseException) -> str:
    """Why it broke, without an address."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    for cause in (error, error.__cause__):
        # Its number is none of the system's.
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with it ({cause.reason})"
    if isinstance(error, ProtocolSyntaxError):
        return "it closed the door: see the virtual host in url"
    number = getattr(error, "errno", None)
    if isinstance(number, int) and number > 0:
        return os.strerror(number)
    said = [argument for argument in error.args if isinstance(argument, str)]
    return said[-1] if said else type(error).__name__


async def _connect(broker: BrokerSettings) -> AbstractConnection:
    url = URL(broker.url).with_user(broker.username).with_password(broker.secret)
    context = None
    if broker.is_encrypted:
        try:
            context = ssl.create_default_context(cafile=broker.ca_file)
        except OSError as error:
            raise BusRefused(f"The broker {broker.name}: {broker.ca_file}: {error}") from error
    return await aio_pika.connect(
        url.update_query(heartbeat=_HEARTBEAT_SECONDS), ssl_context=context
    )


async def _equipped(connection: AbstractConnection, exchange: str, unacknowledged: int) -> Opened:
    await _see_to(connection, exchange)
    channel: AbstractChannel = await connection.channel(publisher_confirms=True)
    ended = asyncio.Event()
    for closing in (connection.close_callbacks, channel.close_callbacks):
        closing.add(lambda *_: ended.set())
    if unacknowledged:
        await channel.set_qos(prefetch_count=unacknowledged)
    return Opened(connection, channel, await channel.get_exchange(exchange, ensure=False), ended)


async def _see_to(connection: AbstractConnection, exchange: str) -> None:
    """Declare the exchange where it is not there: to look needs no permission."""
    with contextlib.suppress(ChannelNotFoundEntity):
        async with connection.channel() as looking:
            await looking.get_exchange(exchange, ensure=True)
            return
    async with connection.channel() as declaring:
        await declaring.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
