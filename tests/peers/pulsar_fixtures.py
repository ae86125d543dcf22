"""Fixtures of Pulsars: one for all tests, and others that a test may kill."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.peers.pulsar import PulsarServer
from tests.peers.room import Room, SharedPeers

MakePulsar = Callable[..., PulsarServer]


@pytest.fixture(scope="session")
def pulsar(shared_peers: SharedPeers) -> PulsarServer:
    """A Pulsar over REST for all tests: whoever uses it has jobs of his own names."""
    return shared_peers.get("pulsar", PulsarServer)


@pytest.fixture
def make_pulsar() -> Iterator[MakePulsar]:
    """Makes Pulsars that are this test's alone, not started yet; keywords go to their app.yml."""
    with ExitStack() as rooms:

        def make(**app: Any) -> PulsarServer:
            return PulsarServer.made(rooms.enter_context(Room.temporary()), **app)

        yield make
