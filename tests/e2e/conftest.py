"""What several of these tests need."""

import pytest

from tests.contract.bus.harness import Site, site


@pytest.fixture(params=["mosquitto-3.1.1", "rabbitmq-amqp"])
def there(request: pytest.FixtureRequest) -> Site:
    """A broker of each kind in turn."""
    return site(
        request.param,
        lambda: request.getfixturevalue("mosquitto"),
        lambda: request.getfixturevalue("rabbitmq"),
    )
