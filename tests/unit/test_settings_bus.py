"""The settings of the bus: brokers, and what is no broker."""

import pytest

from tesp.bus import brokers
from tesp.bus.amqp import AmqpBus
from tesp.bus.memory import MemoryBus
from tesp.bus.mqtt import MqttBus
from tesp.errors import SettingsError
from tesp.settings import BusSettings, parse


def bus(*brokers: dict[str, object], **keys: object) -> BusSettings:
    return parse({"bus": {**keys, "brokers": list(brokers)}}).bus


def refused(*brokers: dict[str, object], **keys: object) -> str:
    with pytest.raises(SettingsError) as caught:
        bus(*brokers, **keys)
    return str(caught.value)


@pytest.mark.parametrize(
    ("url", "kind", "port"),
    [
        ("mqtt://mq", MqttBus, 1883),
        ("mqtts://mq", MqttBus, 8883),
        ("mqtt://mq:1000", MqttBus, 1000),
        ("amqp://mq", AmqpBus, 5672),
        ("amqps://mq/vhost", AmqpBus, 5671),
    ],
)
def test_a_url_says_which_bus_it_is_and_where(url: str, kind: type, port: int) -> None:
    settings = bus({"name": "site", "url": url})
    assert [type(one) for one in brokers.of(settings)] == [kind]
    assert [one.name for one in brokers.of(settings)] == ["site"]
    assert (settings.brokers[0].host, settings.brokers[0].port) == ("mq", port)


def test_without_a_broker_messages_stay_within_the_process() -> None:
    assert [type(one) for one in brokers.of(bus())] == [MemoryBus]


def test_the_words_of_keys_come_from_the_settings() -> None:
    settings = bus(mode="test", user="sam", producer="ipsl", app="metrics")
    assert brokers.producer(settings, "1.2").key("0000") == "test.sam.ipsl.metrics.0000"


def test_a_password_is_not_shown() -> None:
    settings = bus({"name": "m", "url": "amqp://mq", "username": "u", "password": "geheim"})
    assert "geheim" not in repr(settings)
    assert settings.brokers[0].secret == "geheim"


@pytest.mark.parametrize(
    ("broker", "reason"),
    [
        ({"url": "http://mq"}, "this is no URL such as mqtt://"),
        ({"url": "mqtt://"}, "this is no URL such as mqtt://"),
        ({"url": "amqp://alice:geheim@mq"}, "see username and password"),
        ({"url": "mqtt://mq/vhost"}, "MQTT has no virtual host"),
        ({"url": "amqp://mq?x=1"}, "must end with its path"),
        ({"url": "amqp://mq", "password": "geheim"}, "a password needs a username"),
        ({"url": "amqp://mq", "ca_file": "/ca.pem"}, "ca_file is of no use without TLS"),
        ({"url": "mqtt://mq", "version": "3.1"}, "version"),
        ({"url": "mqtt://mq", "client_id": "a/b"}, "client_id"),
        ({"url": "mqtt://mq", "name": ""}, "name"),
    ],
)
def test_what_is_no_broker_is_refused(broker: dict[str, object], reason: str) -> None:
    said = refused({"name": "m", **broker})
    assert reason in said
    assert "geheim" not in said


def test_two_brokers_of_one_name_are_refused() -> None:
    one = {"name": "m", "url": "amqp://mq"}
    assert "two of them are called m" in refused(one, one)


@pytest.mark.parametrize(
    "keys", [{"prefix": "a/#"}, {"prefix": "a.b"}, {"mode": "a.b"}, {"app": "x"}]
)
def test_what_would_break_topics_and_keys_is_refused(keys: dict[str, object]) -> None:
    assert next(iter(keys)) in refused(**keys)
