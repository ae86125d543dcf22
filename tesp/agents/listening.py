"""Listening for ever: what is refused, or cannot be done now, is tried again."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from tesp.bus import Bus, Delivery
from tesp.errors import BusRefused, StoreError

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_REFUSED_SECONDS = 60.0
Take = Callable[[Delivery], Awaitable[None]]


async def listen(bus: Bus, pattern: str, name: str, take: Take) -> None:
    """Take each message that matches, one after another; one is acknowledged when it was taken.

    While the store is away it waits, and what comes meanwhile waits behind it. Ends with the bus.
    """
    while True:
        try:
            async with bus.subscribe(pattern, name=name) as deliveries:
                async for delivery in deliveries:
                    await _taken(delivery, take)
                return
        except BusRefused as error:
            _log.error("%s hears nothing: %s It is tried again.", name, error)
            await asyncio.sleep(_REFUSED_SECONDS)


async def _taken(delivery: Delivery, take: Take) -> None:
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return await take(delivery)
        except StoreError as error:
            _log.warning("The message %s waits: %s", delivery.message.id, error)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
