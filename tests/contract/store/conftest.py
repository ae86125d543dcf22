"""Every test of this suite runs over every store."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tesp.store import Store
from tests.contract.store.places import PLACES, Place


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest) -> Place:
    """An empty place of one kind."""
    return PLACES[request.param](request)


@pytest_asyncio.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    """An empty store of one kind."""
    opened = await place.open()
    yield opened
    await opened.close()
