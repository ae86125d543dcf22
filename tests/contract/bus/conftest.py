"""The site of a test."""

import pytest

from tests.contract.bus.harness import Site, site


@pytest.fixture
def here(request: pytest.FixtureRequest) -> Site:
    """The broker that the test's parameter names."""
    return site(
        request.param,
        lambda: request.getfixturevalue("mosquitto"),
        lambda: request.getfixturevalue("rabbitmq"),
    )
