"""Fixtures of the brokers."""

import uuid
from collections.abc import Iterator

import pytest

from tests.peers.guarded_brokers import GuardedMosquitto, GuardedRabbitmq
from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import Room, SharedPeers


@pytest.fixture(scope="session")
def mosquitto(shared_peers: SharedPeers) -> MosquittoServer:
    """A Mosquitto for all tests: whoever uses it has topics of his own."""
    return shared_peers.get("mosquitto", MosquittoServer)


@pytest.fixture
def own_mosquitto() -> Iterator[MosquittoServer]:
    """A Mosquitto that is this test's alone."""
    with Room.temporary() as room:
        yield MosquittoServer.boot(room)


@pytest.fixture(scope="session")
def guarded_mosquitto(shared_peers: SharedPeers) -> GuardedMosquitto:
    """Mosquitto as docker/ has it."""
    return shared_peers.get("guarded-mosquitto", GuardedMosquitto)


@pytest.fixture(scope="session")
def guarded_rabbitmq(shared_peers: SharedPeers) -> GuardedRabbitmq:
    """RabbitMQ as docker/ has it."""
    return shared_peers.get("guarded-rabbitmq", GuardedRabbitmq)


@pytest.fixture(params=["mosquitto", "rabbitmq", "rabbitmq-mqtt"])
def guarded_url(request: pytest.FixtureRequest) -> str:
    """Where the bus is at a broker of docker/: of each in turn, in each way that it speaks."""
    if request.param == "mosquitto":
        return f"mqtt://127.0.0.1:{request.getfixturevalue('guarded_mosquitto').port}"
    rabbitmq: GuardedRabbitmq = request.getfixturevalue("guarded_rabbitmq")
    if request.param == "rabbitmq":
        return f"amqp://127.0.0.1:{rabbitmq.port}/tesp"
    return f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}"


@pytest.fixture
def prefix() -> str:
    """How the topics of this test alone begin."""
    return f"T{uuid.uuid4().hex[:8]}"
