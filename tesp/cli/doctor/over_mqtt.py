"""A look at an MQTT broker: in, as far as publishing, and out again. MQTT has no way to take a
message back: what is sent is no message to those who listen, and they drop it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from tesp.bus import Message
from tesp.bus.mqtt_client import Client, connected
from tesp.cli.doctor.findings import ANSWER_SECONDS
from tesp.errors import BusError
from tesp.settings import BrokerSettings

# To our listeners it is none because it is not flat; to those of others it says that nothing is.
_NO_MESSAGE = b'{"doctor": {"looks": true}, "announce": false, "status": "unknown"}'


@asynccontextmanager
async def entered(
    broker: BrokerSettings,
) -> AsyncIterator[Callable[[Message], Awaitable[None]]]:
    """Logged in; yields the attempt to publish. Raises BusUnavailable or BusRefused."""
    async with connected(broker) as client:
        yield partial(_attempt, broker, client)


async def _attempt(broker: BrokerSettings, client: Client, message: Message) -> None:
    async with AsyncExitStack() as stack:
        if broker.version == "3.1.1":
            # There a broker may confirm what it does not permit.
            with suppress(BusError, TimeoutError):
                telling = connected(broker.model_copy(update={"version": "5"}))
                async with asyncio.timeout(ANSWER_SECONDS):
                    client = await stack.enter_async_context(telling)
        async with asyncio.timeout(ANSWER_SECONDS):
            await client.send([(message.topic, _NO_MESSAGE)])
