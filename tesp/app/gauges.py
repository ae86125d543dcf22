"""Which queues are measured: those that the service knows."""

from collections.abc import Awaitable, Sequence
from urllib.parse import unquote

from yarl import URL

from tesp.agents.gauge import Gauge, Look, Watched
from tesp.agents.listening import Listener
from tesp.agents.tenure import Tenure
from tesp.app.sinks import Held
from tesp.settings import BrokerSettings, PulsarSettings, Settings

_LEASE = "gauge"


def gauges(settings: Settings, held: Held, listeners: Sequence[Listener]) -> list[Awaitable[None]]:
    """The work of measuring; none where there is no AMQP broker with a queue that is known."""
    watched = [*_of_brokers(settings, listeners), *_of_pulsars(settings)]
    if not watched:
        return []
    tenure = Tenure(held.store, _LEASE, held.holder, held.lease_seconds)
    return [Gauge(watched, held.store, tenure).run()]


def _of_brokers(settings: Settings, listeners: Sequence[Listener]) -> list[Watched]:
    found = []
    for broker in settings.bus.brokers:
        own = [f"{broker.client_id}-{one.name}" for one in listeners if broker.client_id]
        queues = tuple(dict.fromkeys([*own, *broker.queues]))
        if queues and broker.scheme.startswith("amqp"):
            found.append(_watched(broker.name, broker, queues))
    return found


def _of_pulsars(settings: Settings) -> list[Watched]:
    found = []
    for pulsar in settings.pulsars:
        if pulsar.amqp_url:
            from tesp.backends.pulsar.amqp_backend import queues_of

            found.append(_watched(pulsar.name, _broker_of(pulsar), queues_of(pulsar)))
    return found


def _watched(name: str, broker: BrokerSettings, queues: tuple[str, ...]) -> Watched:
    def look() -> Look:
        # The client takes a while to import: only who needs it waits.
        from tesp.bus.amqp_depths import QueueLook

        return QueueLook(broker)

    return Watched(name, queues, look)


def _broker_of(pulsar: PulsarSettings) -> BrokerSettings:
    """The broker of a Pulsar, as one of the bus."""
    assert pulsar.amqp_url, "a Pulsar over AMQP has an amqp_url"
    url = URL(pulsar.amqp_url.get_secret_value())
    bare = str(url.with_user(None).with_query(None).with_fragment(None))
    return BrokerSettings.model_validate(
        {
            "name": "pulsar",
            "url": bare,
            "username": url.user and unquote(url.user),
            "password": url.password,
        }
    )
