"""The sites: every backend in turn."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.peers.pulsar import PulsarServer
from tests.peers.room import Room
from tests.peers.sites import Site, local_site, pulsar_site
from tests.peers.tesp_server import TespServer


@pytest.fixture(scope="module", params=["local", "pulsar-rest", "pulsar-rest-node"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One backend, and a way to start servers that use it."""
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        yield stack.enter_context(_made(request.param, directory, stack).ended())


def _made(kind: str, directory: Path, stack: ExitStack) -> Site:
    if kind == "local":
        return local_site(directory)
    pulsar = PulsarServer.boot(stack.enter_context(Room.temporary()))
    staging = "node" if kind.endswith("-node") else "dispatcher"
    keys = {"url": pulsar.url, "token": pulsar.token, "staging": staging}
    return pulsar_site(kind, directory, pulsar, **keys)


@pytest.fixture(scope="module")
def server(site: Site) -> TespServer:
    """One server for all tests of a module at a site."""
    return site.start()
