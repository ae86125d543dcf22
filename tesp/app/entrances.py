"""What comes in from outside: mails, alerts, webhooks, for the bus and for who listens here."""

import asyncio
import logging
import platform
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from starlette.routing import Route

from tesp import __version__
from tesp.agents.gauge import Gauge, Watched
from tesp.agents.listening import Ear, Listener
from tesp.agents.tenure import Tenure
from tesp.app.sinks import Held
from tesp.bus import Bus, Delivery
from tesp.bus.forwarder import Forwarder, SpoolLook
from tesp.bus.known import Known
from tesp.bus.spool import Spool
from tesp.ingress import entrances, webhook
from tesp.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Inward:
    """Who listens here, to what is trusted or to what is not."""

    listener: Listener
    trusted: bool
    forwarder: Forwarder

    @classmethod
    def of(cls, directory: Path, listener: Listener, trusted: bool) -> Self:
        """One message after another: a crash repeats no more than one."""
        name = f"{listener.name}-{'trusted' if trusted else 'open'}"
        spool = Spool(directory / name)
        return cls(listener, trusted, Forwarder(name, Ear(listener, trusted), spool, at_once=1))

    def wants(self, delivery: Delivery) -> bool:
        """Whether it is for him."""
        return delivery.trusted is self.trusted and self.listener.wants(delivery.message)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Where a message goes that came in: to who listens here, with the trust that it came with,
    and what is trusted to every broker. On a broker nobody could tell any more that the rest is
    not: it stays within the service. Each has a spool of its own, so that none is in another's
    way. `known` are those that come back from a broker to who listens here, and has them."""

    outward: Sequence[Forwarder] = ()
    inward: Sequence[_Inward] = ()
    known: Known = field(default_factory=Known)

    @classmethod
    def of(cls, settings: Settings, buses: Sequence[Bus], listeners: Sequence[Listener]) -> Self:
        """As the settings ask for it; says what nobody would expect of them."""
        if not settings.ingress.is_open:
            return cls()
        directory = settings.data_dir / "ingress"
        outward = buses if settings.bus.brokers else ()
        for way in settings.ingress.unvouched if outward else ():
            _log.warning(
                "%s: nobody vouches for who sends there, so what comes goes to no broker, but to "
                "those triggers alone that are not trusted_only.",
                way,
            )
        return cls(
            [Forwarder(b.name, b, Spool(directory / "outward" / b.name)) for b in outward],
            [_Inward.of(directory / "inward", one, t) for one in listeners for t in (True, False)],
        )

    async def take(self, delivery: Delivery) -> None:
        """Keep it for all whom it is for: it is on disk when this returns. Raises BusError where
        the disk is of no use, and MessageRefused for what is no message."""
        message = delivery.message
        wanting = [one.forwarder for one in self.inward if one.wants(delivery)]
        if delivery.trusted:
            self.known.add(message.id)
            wanting += self.outward
        if not wanting:
            _log.info("Nobody takes the message %s on %s.", message.id, message.topic)
        for forwarder in wanting:
            await forwarder.take([message])

    def work(self, held: Held) -> list[Awaitable[None]]:
        """What is to run for ever, in every process that lets something in."""
        spools = [*self.outward, *(one.forwarder for one in self.inward)]
        if not spools:
            return []
        here = f"ingress@{platform.node()}"
        tenure = Tenure(held.store, f"gauge:{here}", held.holder, held.lease_seconds)
        watched = Watched(here, tuple(one.name for one in spools), lambda: SpoolLook(spools))
        return [Gauge([watched], held.store, tenure).run(), *(one.run() for one in spools)]


def entering(
    settings: Settings, arrivals: Arrivals
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What is to run for ever, in one process at a time: what comes by mail and as alerts."""
    found = entrances.of(settings, __version__, arrivals.take)

    async def work() -> None:
        async with AsyncExitStack() as stack:
            for entrance in found:
                await entrance.start()
                stack.push_async_callback(entrance.close)
            await asyncio.Event().wait()

    return [work] if found else []


def webhook_routes(settings: Settings, arrivals: Arrivals) -> list[Route]:
    """The API's route for webhooks, where there are any."""
    hooks = settings.ingress.webhooks
    return [webhook.route(hooks, arrivals.take)] if hooks else []
