"""The brokers of the settings."""

from tesp.bus import Bus
from tesp.bus.amqp import AmqpBus
from tesp.bus.memory import MemoryBus
from tesp.bus.mqtt import MqttBus
from tesp.bus.prodiguer import Producer
from tesp.settings import BrokerSettings, BusSettings


def of(settings: BusSettings) -> list[Bus]:
    """A bus for each broker; without any, the one within this process. None connects yet."""
    return [one(broker) for broker in settings.brokers] or [MemoryBus()]


def one(broker: BrokerSettings) -> Bus:
    """The bus of one broker."""
    return MqttBus(broker) if broker.scheme.startswith("mqtt") else AmqpBus(broker)


def producer(settings: BusSettings, version: str) -> Producer:
    """Who speaks, by the settings."""
    return Producer(settings.mode, settings.user, settings.producer, settings.app, version)
