"""Work that blocks for long, and must not take the threads that others wait for."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future


async def in_own_thread(work: Callable[[], None]) -> None:
    """Do it in a thread of its own; raises what it raises. Who no longer waits leaves it behind:
    the end of the process does not wait for it either."""
    done: Future[None] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, name="mail", daemon=True).start()
    await asyncio.wrap_future(done)
