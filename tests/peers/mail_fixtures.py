"""Fixtures of the mail servers."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.peers.exim import EximServer
from tests.peers.room import Room

StartRelay = Callable[[int], EximServer]


@pytest.fixture
def exim() -> Iterator[EximServer]:
    """An Exim that keeps what comes, and is this test's alone."""
    with Room.temporary() as room:
        yield EximServer.boot(room)


@pytest.fixture
def start_relay() -> Iterator[StartRelay]:
    """Starts an Exim that sends what comes on to a port."""
    with ExitStack() as rooms:
        yield lambda onward: EximServer.boot(rooms.enter_context(Room.temporary()), onward)
