"""The sites: every backend in turn."""

from collections.abc import Iterator

import pytest

from tests.peers.sites import Site, local_site
from tests.peers.tesp_server import TespServer


@pytest.fixture(scope="module", params=["local"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One backend, and a way to start servers that use it."""
    with local_site(tmp_path_factory.mktemp("site")).ended() as site:
        yield site


@pytest.fixture(scope="module")
def server(site: Site) -> TespServer:
    """One server for all tests of a module at a site."""
    return site.start()
