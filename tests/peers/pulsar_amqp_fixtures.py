"""Fixtures of Pulsars over AMQP: two for all tests of a worker, and others that a test may kill.

A Pulsar's updates go to one listener alone, so that workers cannot share one.
"""

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
def amqp_pulsar(
    shared_peers: SharedPeers, rabbitmq: RabbitmqServer, worker_id: str
) -> AmqpPulsarServer:
    """A Pulsar over AMQP alone."""
    kind = _Kind(rabbitmq, hybrid=False)
    return shared_peers.get(f"pulsar-amqp-{worker_id}", kind)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def hybrid_pulsar(
    shared_peers: SharedPeers, rabbitmq: RabbitmqServer, worker_id: str
) -> AmqpPulsarServer:
    """A Pulsar over AMQP and REST."""
    kind = _Kind(rabbitmq, hybrid=True)
    return shared_peers.get(f"pulsar-hybrid-{worker_id}", kind)  # type: ignore[arg-type]


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
