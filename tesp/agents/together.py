"""Several things that an agent does for ever, side by side."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def together(*work: Coroutine[Any, Any, None]) -> None:
    """Do all of it; the first error ends the rest, and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except ExceptionGroup as failed:
        raise _first(failed) from None


def _first(failed: ExceptionGroup[Exception]) -> Exception:
    error = failed.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error
