"""The sender of who has no store: three tries, then the spool; nothing overtakes the spool."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum

from tesp.bus import Message, Outlet, tael
from tesp.bus.spool import Batch, Sending, Spool
from tesp.errors import BusUnavailable, MessageRefused
from tesp.threads import in_thread

_TRIES = 3
_FIRST_PAUSE_SECONDS = 0.2


class Sent(StrEnum):
    """What became of messages."""

    CONFIRMED = "confirmed"  # the broker has them
    SPOOLED = "spooled"  # they are on disk, and go with the next that are sent


class Sender:
    """One bus, or another outlet, and the spool before it."""

    def __init__(self, bus: Outlet, spool: Spool, at_once: int = 100) -> None:
        self._bus, self._spool, self._at_once = bus, spool, at_once
        self._one_by_one = asyncio.Lock()
        self.put_aside = 0

    async def send(self, messages: Sequence[Message]) -> Sent:
        """Publish, or spool; raises BusRefused where the broker will take nothing from us, and
        MessageRefused where it will not take one of these. What waits in the spool goes first;
        where that is so, these wait there too, whatever is raised."""
        for message in messages:
            tael.encode(message)
        async with self._one_by_one:
            return await self._send(messages)

    async def _send(self, messages: Sequence[Message]) -> Sent:
        if await in_thread(self._spool.append_behind, messages):
            return await self.flush()
        try:
            await self._publish(messages)
        except BusUnavailable:
            await in_thread(self._spool.append, messages)
            return Sent.SPOOLED
        return Sent.CONFIRMED

    async def keep(self, messages: Sequence[Message]) -> None:
        """Spool messages behind what waits there, without a try."""
        await in_thread(self._spool.append, messages)

    async def flush(self) -> Sent:
        """Send what waits in the spool, in order, unless another process does. A message that
        the broker refuses is put aside, in the spool's file `refused`, and stops no other;
        `put_aside` counts them."""
        with self._spool.sending() as sending:
            if sending is None:
                return Sent.SPOOLED
            try:
                while batch := await in_thread(sending.oldest, self._at_once):
                    await self._replay(sending, batch)
            except BusUnavailable:
                return Sent.SPOOLED
        return Sent.CONFIRMED

    async def _replay(self, sending: Sending, batch: Batch) -> None:
        try:
            await self._publish(batch.messages)
        except MessageRefused:
            for message in batch.messages:
                await self._replay_one(sending, message)
        await in_thread(sending.sent, batch)

    async def _replay_one(self, sending: Sending, message: Message) -> None:
        try:
            await self._publish([message])
        except MessageRefused as error:
            await in_thread(sending.put_aside, message, str(error))
            self.put_aside += 1

    async def _publish(self, messages: Sequence[Message]) -> None:
        """Three tries."""
        for number in range(_TRIES):
            try:
                return await self._bus.publish(messages)
            except BusUnavailable:
                if number == _TRIES - 1:
                    raise
                await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**number)
