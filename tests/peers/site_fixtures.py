"""The sites: every backend in turn."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.peers.pulsar import PulsarServer
from tests.peers.pulsar_amqp import AmqpPulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room
from tests.peers.sites import Site, local_site, pulsar_site
from tests.peers.tesp_server import TespServer

_KINDS = ("local", "rest", "rest-node", "amqp", "amqp-node", "hybrid")


@pytest.fixture(scope="module", params=_KINDS)
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One backend, and a way to start servers that use it."""
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        if request.param == "local":
            site = local_site(directory)
        else:
            room = stack.enter_context(Room.temporary())
            kind, _, staging = request.param.partition("-")
            keys = {"staging": staging or "dispatcher"}
            site = _pulsar(kind, directory, room, request, keys)
        yield stack.enter_context(site.ended())


def _pulsar(
    kind: str, directory: Path, room: Room, request: pytest.FixtureRequest, keys: dict[str, Any]
) -> Site:
    """A Pulsar of this site's own."""
    if kind == "rest":
        pulsar = PulsarServer.boot(room)
    else:
        broker: RabbitmqServer = request.getfixturevalue("rabbitmq")
        pulsar = AmqpPulsarServer.over(room, broker, hybrid=kind == "hybrid")
        keys |= {"amqp_url": broker.url, "manager": pulsar.manager}
    if kind != "amqp":
        keys |= {"url": pulsar.url, "token": pulsar.token}
    return pulsar_site(f"{kind}-{keys['staging']}", directory, pulsar, **keys)


@pytest.fixture(scope="module")
def server(site: Site) -> TespServer:
    """One server for all tests of a module at a site."""
    return site.start()
