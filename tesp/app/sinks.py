"""Who hears of events: the feeders of all sinks that the settings name."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tesp import __version__
from tesp.agents import Sink
from tesp.agents import callbacks as calling
from tesp.agents.bus_sink import BusSink
from tesp.agents.callbacks import Callbacks
from tesp.agents.feeder import Feeder
from tesp.agents.tenure import Tenure
from tesp.agents.webhook import WebhookSink
from tesp.app.notifications import notification_sinks
from tesp.bus import Bus, Message, brokers, prodiguer, tael
from tesp.events import Event
from tesp.settings import Settings
from tesp.store import Store
from tesp.store.following import LogNews


@dataclass(frozen=True, slots=True)
class Held:
    """The store as this process works on it: its news, and under which name leases are held."""

    store: Store
    news: LogNews
    holder: str
    lease_seconds: float

    def feeder(self, sink: Sink) -> Awaitable[None]:
        """The work of feeding a sink."""
        return Feeder(sink, self.store, self.news, self.holder, self.lease_seconds).run()


def feeders(
    settings: Settings, held: Held, buses: Sequence[Bus], stack: AsyncExitStack
) -> list[Awaitable[None]]:
    """The work of feeding all sinks; they are closed with the stack, but for the buses."""
    told, plain = bus_projection(settings), plain_projection(settings)
    work = [held.feeder(BusSink(bus, told)) for bus in buses]
    for target in settings.webhooks.targets:
        sink = WebhookSink(target, plain)
        stack.push_async_callback(sink.close)
        work.append(held.feeder(sink))
    sinks = notification_sinks(settings, held.store, stack)
    work += [held.feeder(sink) for sink in sinks]
    if settings.webhooks.callback_hosts:
        tenure = Tenure(held.store, calling.NAME, held.holder, held.lease_seconds)
        work.append(Callbacks(settings.webhooks, plain, held.store, held.news, tenure).run())
    return work


def bus_projection(settings: Settings) -> Callable[[Event], Message]:
    """What an event is on a broker: Tael's topic and payload, Prodiguer's key and headers."""
    producer = brokers.producer(settings.bus, __version__)
    prefix = settings.bus.prefix
    return lambda e: prodiguer.message(e, prefix, producer)


def plain_projection(settings: Settings) -> Callable[[Event], Message]:
    """What an event is for who is no broker."""
    prefix = settings.bus.prefix
    return lambda e: tael.message(e, prefix)
