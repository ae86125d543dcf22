"""Fixtures of Pulsars over AMQP: two for all tests, and others that a test may kill."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.files_server import FilesServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, SharedPeers

MakeAmqpPulsar = Callable[..., AmqpPulsarServer]


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Boots one, or makes it again from its facts."""

    broker: RabbitmqServer
    hybrid: bool

    def boot(self, room: Room) -> AmqpPulsarServer:
        return AmqpPulsarServer.over(room, self.broker, hybrid=self.hybrid)

    def __call__(self, **facts: Any) -> AmqpPulsarServer:
        return AmqpPulsarServer(**facts)


@pytest.fixture(scope="session")
def amqp_pulsar(shared_peers: SharedPeers, rabbitmq: RabbitmqServer) -> AmqpPulsarServer:
    """A Pulsar over AMQP alone for all tests: whoever uses it has jobs of his own names."""
    return shared_peers.get("pulsar-amqp", _Kind(rabbitmq, hybrid=False))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def hybrid_pulsar(shared_peers: SharedPeers, rabbitmq: RabbitmqServer) -> AmqpPulsarServer:
    """A Pulsar over AMQP and REST for all tests."""
    return shared_peers.get("pulsar-hybrid", _Kind(rabbitmq, hybrid=True))  # type: ignore[arg-type]


@pytest.fixture
def make_amqp_pulsar() -> Iterator[MakeAmqpPulsar]:
    """Makes Pulsars that are this test's alone, at a broker; keywords go to their app.yml."""
    with ExitStack() as rooms:

        def make(broker: RabbitmqServer, **app: Any) -> AmqpPulsarServer:
            return AmqpPulsarServer.over(rooms.enter_context(Room.temporary()), broker, **app)

        yield make


@pytest.fixture
def own_rabbitmq() -> Iterator[RabbitmqServer]:
    """A RabbitMQ that is this test's alone."""
    with Room.temporary() as room:
        yield RabbitmqServer.boot(room)


@pytest.fixture
def files_server(tmp_path: Path) -> Iterator[FilesServer]:
    """What hands files to jobs, and takes theirs."""
    with FilesServer.opened(tmp_path / "files") as server:
        yield server
