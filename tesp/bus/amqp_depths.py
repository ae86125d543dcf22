"""Looks how full the queues of an AMQP broker are."""

import asyncio
from collections.abc import Sequence

from aio_pika.exceptions import ChannelNotFoundEntity

from tesp.bus.amqp_channel import ANSWER_SECONDS, connection, translated
from tesp.bus.depths import Depth
from tesp.bus.line import Line
from tesp.settings import BrokerSettings


class QueueLook:
    """Over one connection, which is opened anew where it broke. It declares nothing: to look
    needs no permission."""

    def __init__(self, broker: BrokerSettings) -> None:
        self._broker = broker
        self._line = Line(lambda: connection(broker), lambda opened: opened.is_closed)

    async def depths(self, queues: Sequence[str]) -> list[Depth]:
        """Those of the queues that are there; raises BusUnavailable or BusRefused."""
        opened = await self._line.opened()
        found = []
        try:
            with translated(self._broker):
                async with asyncio.timeout(ANSWER_SECONDS):
                    for name in queues:
                        try:
                            # One that is not there closes the channel.
                            async with opened.channel() as channel:
                                seen = await channel.declare_queue(name, passive=True)
                        except ChannelNotFoundEntity:
                            continue
                        counts = seen.declaration_result
                        depth = Depth(name, counts.message_count or 0, counts.consumer_count or 0)
                        found.append(depth)
        except BaseException:
            await self._line.leave()
            raise
        return found

    async def close(self) -> None:
        """Hang up."""
        await self._line.leave()
