"""Programs that run until they are told to end."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any


def stop_by_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Two events: set by the first SIGTERM or Ctrl-C, and by the second."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def end() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    return stop, hurry


async def until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do it until a signal comes; raises what it raises."""
    stop, _ = stop_by_signals()
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopped.cancel()
        await asyncio.gather(working, stopped, return_exceptions=True)
