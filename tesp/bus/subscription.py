"""A subscription: connections that are made anew for ever feed one iterator."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tesp.bus import Delivery
from tesp.bus.known import Known
from tesp.errors import BusError, BusRefused

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Incoming:
    """A delivery, and how it is acknowledged; that gives False where the connection that it came
    by has ended. `is_repeated`: the broker says that it has sent it before."""

    delivery: Delivery
    acknowledge: Callable[[], Awaitable[bool]]
    is_repeated: bool = False


Source = Callable[[], AbstractAsyncContextManager[AsyncIterator[Incoming]]]
"""Connects and subscribes; raises BusUnavailable or BusRefused, the iterator too."""


class Subscription(AbstractAsyncContextManager[AsyncIterator[Delivery]]):
    """What comes by any of the sources, one at a time; nothing is asked of a broker ahead of
    what its own limit of unacknowledged messages allows."""

    def __init__(self, broker: str, sources: Sequence[Source]) -> None:
        self._broker, self._sources = broker, sources
        self._waiting: asyncio.Queue[Incoming | None] = asyncio.Queue(maxsize=1)
        self._feeds: list[asyncio.Task[None]] = []
        self._taken: Incoming | None = None
        # What was dealt with and could not be acknowledged: it may come again.
        self._dealt = Known()
        self._ended = False

    async def __aenter__(self) -> "Self":
        opened = [asyncio.get_running_loop().create_future() for _ in self._sources]
        self._feeds = [
            asyncio.create_task(self._feed(source, future))
            for source, future in zip(self._sources, opened, strict=True)
        ]
        try:
            await asyncio.gather(*opened)
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        taken, self._taken = self._taken, None
        if taken is not None:
            await self._acknowledge(taken)
        while not self._ended:
            incoming = await self._waiting.get()
            if incoming is None:
                break
            if incoming.is_repeated and incoming.delivery.message.id in self._dealt:
                await self._acknowledge(incoming)
                continue
            self._taken = incoming
            return incoming.delivery
        raise StopAsyncIteration

    async def _acknowledge(self, incoming: Incoming) -> None:
        known = incoming.delivery.message.id
        if await incoming.acknowledge():
            self._dealt.discard(known)
        else:
            self._dealt.add(known)

    async def end(self) -> None:
        """End it; whoever waits for the next message gets no more."""
        self._ended = True
        for feed in self._feeds:
            feed.cancel()
        if self._feeds:
            await asyncio.wait(self._feeds)
        if self._waiting.empty():
            self._waiting.put_nowait(None)

    async def _feed(self, source: Source, opened: "asyncio.Future[None]") -> None:
        """Connect for ever. A refusal at the start is told; later, the broker may come to its
        senses: one that has just started does not know its users yet."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with source() as incoming:
                    self._tell_opened(opened, again=opened.done() or pause > _FIRST_PAUSE_SECONDS)
                    pause = _FIRST_PAUSE_SECONDS
                    async for one in incoming:
                        await self._waiting.put(one)
            except BusError as error:
                if isinstance(error, BusRefused) and not opened.done():
                    opened.set_exception(error)
                    return
                level = logging.WARNING if pause == _FIRST_PAUSE_SECONDS else logging.DEBUG
                _log.log(level, "%s It is tried again for ever.", error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _tell_opened(self, opened: "asyncio.Future[None]", again: bool) -> None:
        if again:
            _log.info("The broker %s is there again.", self._broker)
        if not opened.done():
            opened.set_result(None)
