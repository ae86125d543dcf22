"""The brokers of the settings. Their clients take a while to import: only who has such a broker
waits for them."""

from tesp.bus import Bus
from tesp.bus.memory import MemoryBus
from tesp.bus.prodiguer import Producer
from tesp.settings import BrokerSettings, BusSettings


def of(settings: BusSettings) -> list[Bus]:
    """A bus for each broker; without any, the one within this process. None connects yet."""
    return [one(broker) for broker in settings.brokers] or [MemoryBus()]


def one(broker: BrokerSettings) -> Bus:
    """The bus of one broker."""
    if broker.scheme.startswith("mqtt"):
        from tesp.bus.mqtt import MqttBus

        return MqttBus(broker)
    from tesp.bus.amqp import AmqpBus

    return AmqpBus(broker)


def producer(settings: BusSettings, version: str) -> Producer:
    """Who speaks, by the settings."""
    return Producer(settings.mode, settings.user, settings.producer, settings.app, version)
