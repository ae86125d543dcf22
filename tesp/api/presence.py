"""Work for a client, for as long as he is there."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def while_there(work: Coroutine[Any, Any, None], leaving: Coroutine[Any, Any, None]) -> None:
    """Do the work until it is done or the client has left; raises what the work raises."""
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(leaving)
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (doing, gone):
            task.cancel()
        await asyncio.gather(doing, gone, return_exceptions=True)
    if not doing.cancelled():
        doing.result()
