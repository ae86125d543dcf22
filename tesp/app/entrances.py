"""What comes in from outside: mails, alerts, webhooks, for the bus and for who listens here."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack

from starlette.routing import Route

from tesp import __version__
from tesp.agents.listening import Listener, pass_on
from tesp.agents.tenure import Tenure
from tesp.app.sinks import Held
from tesp.bus import Bus, Delivery
from tesp.ingress import Deliver, entrances, webhook
from tesp.settings import Settings

_LEASE = "ingress"


def delivery_of(settings: Settings, listeners: Sequence[Listener], buses: Sequence[Bus]) -> Deliver:
    """Where a message goes that came in. What is trusted goes to the brokers, and comes back from
    there to who listens. On a broker nobody could tell any more that the rest is not: it stays
    within the service, and so does all where there is no broker."""
    outward = buses if settings.bus.brokers else ()

    async def deliver(delivery: Delivery) -> None:
        if not (outward and delivery.trusted):
            await pass_on(listeners, delivery)
            return
        for bus in outward:
            await bus.publish([delivery.message])

    return deliver


def entering(settings: Settings, held: Held, deliver: Deliver) -> list[Awaitable[None]]:
    """What is to run for ever: one process at a time lets in what comes by mail and as alerts."""
    found = entrances.of(settings, __version__, deliver)
    if not found:
        return []

    async def work() -> None:
        async with AsyncExitStack() as stack:
            for entrance in found:
                await entrance.start()
                stack.push_async_callback(entrance.close)
            await asyncio.Event().wait()

    return [Tenure(held.store, _LEASE, held.holder, held.lease_seconds).work(work)]


def webhook_routes(settings: Settings, deliver: Deliver) -> list[Route]:
    """The API's route for webhooks, where there are any."""
    hooks = settings.ingress.webhooks
    return [webhook.route(hooks, deliver)] if hooks else []
