"""Waiting for what comes while the event loop goes on."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 120.0


async def until(look: Callable[[], Awaitable[T] | T]) -> T:
    """What `look` gives as soon as it is true; fails when it never is."""
    deadline = time.monotonic() + PATIENCE
    while True:
        looked = look()
        seen = await looked if isinstance(looked, Awaitable) else looked
        if seen:
            return seen
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.01)
