"""Agents that people write: letters come in, methods take them, and work goes on beside.

class Scheduler(Agent):
    @takes("observe")
    async def plan(self, letter: Letter) -> None:
        await self.send_to("telescope", "point", target=letter.fields["target"])

run(Scheduler("scheduler", post_of(load(Path("settings.toml")))))
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from typing import TypeVar

from tesp.agents import letters
from tesp.agents.letters import Letter
from tesp.agents.posts import Post
from tesp.bus import MOST_HOPS, Value

__all__ = ["Agent", "Letter", "Sender", "run", "takes", "until_signalled"]

_log = logging.getLogger(__name__)

A = TypeVar("A", bound="Agent")
Method = Callable[[A, Letter], Awaitable[None]]
_MARK = "_takes_letter"
_GRACE_SECONDS = 10.0


def takes(name: str) -> Callable[[Method[A]], Method[A]]:
    """The method takes the letters of that name."""

    def marked(method: Method[A]) -> Method[A]:
        setattr(method, _MARK, name)
        return method

    return marked


class Sender:
    """Sends letters; it takes no agent to do so."""

    def __init__(self, post: Post) -> None:
        self._post = post

    async def send_to(
        self, name: str, message: str, /, cause: Letter | None = None, **fields: Value
    ) -> None:
        """Send `message`, which is a letter's name or `name key=value ...`, to an agent.

        Raises BusUnavailable (try again) or BusRefused.
        """
        letter = letters.written(message, fields)
        if cause is not None:
            origin = cause.correlation or cause.id
            letter = replace(letter, correlation=origin, hops=cause.hops + 1)
        await self._post.send(name, letter)


class Agent:
    """One agent, in a process of its own. Subclass it; `start`, `work` and `shutdown` may be
    overridden."""

    def __init__(self, name: str, post: Post) -> None:
        self.name = name
        self._post = post
        self._sender = Sender(post)
        self._ended = asyncio.Event()
        self._is_there = False
        self._in_hand = asyncio.Lock()
        self._cause: ContextVar[Letter | None] = ContextVar("cause", default=None)
        self._methods = {
            letter: getattr(self, attribute)
            for attribute in dir(type(self))
            if (letter := getattr(getattr(type(self), attribute), _MARK, None))
        }

    async def start(self) -> None:
        """Called once, before the first letter."""

    async def work(self) -> None:
        """Runs beside the receiving; give what blocks to asyncio.to_thread. It may end."""

    async def shutdown(self) -> None:
        """End the agent; a letter that is being taken has ten seconds to its end."""
        self._ended.set()

    async def send_to(self, name: str, message: str, /, **fields: Value) -> None:
        """Send a letter; what follows from one that we are taking says so."""
        await self._sender.send_to(name, message, self._cause.get(), **fields)

    async def run(self) -> None:
        """Be an agent until the shutdown; raises what `start` and `work` raise."""
        async with self._post.receive(self.name) as incoming:
            self._is_there = True
            await self.start()
            taking = asyncio.create_task(self._take_all(incoming))
            working = asyncio.create_task(self.work())
            ending = asyncio.create_task(self._ended.wait())
            try:
                await self._until_end(taking, working, ending)
            finally:
                for task in (taking, working, ending):
                    task.cancel()
                await asyncio.gather(taking, working, ending, return_exceptions=True)

    async def until(self, ended: asyncio.Event) -> None:
        """Be an agent until the event is set; one that waits for a broker yet ends at once."""
        running = asyncio.create_task(self.run())
        told = asyncio.create_task(ended.wait())
        try:
            await asyncio.wait((running, told), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await self.shutdown()
            if self._is_there or running.done():
                await running
        finally:
            for task in (running, told):
                task.cancel()
            await asyncio.gather(running, told, return_exceptions=True)

    async def _until_end(
        self,
        taking: "asyncio.Task[None]",
        working: "asyncio.Task[None]",
        ending: "asyncio.Task[bool]",
    ) -> None:
        left: set[asyncio.Task[None] | asyncio.Task[bool]] = {taking, working, ending}
        while not (taking.done() or ending.done()):
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS), self._in_hand:
                pass

    async def close(self) -> None:
        """Let go of what brings our letters."""
        await self._post.close()

    async def _take_all(self, incoming: AsyncIterator[Letter]) -> None:
        """One after another."""
        async for letter in incoming:
            async with self._in_hand:
                await self._take(letter)
            if self._ended.is_set():
                return

    async def _take(self, letter: Letter) -> None:
        method = self._methods.get(letter.name)
        if method is None:
            _log.warning("%s: nothing takes the letter %s.", self.name, letter.name)
            return
        if letter.hops >= MOST_HOPS:
            _log.warning("%s: %s ends here, after %d hops.", self.name, letter.name, letter.hops)
            return
        token = self._cause.set(letter)
        try:
            await method(letter)
        except Exception:  # noqa: BLE001 - it is no code of ours
            _log.exception("%s: the letter %s (%s) failed.", self.name, letter.name, letter.id)
        finally:
            self._cause.reset(token)


def run(agent: Agent) -> None:
    """Run an agent until SIGTERM or SIGINT, or until it ends itself."""
    asyncio.run(until_signalled(agent))


async def until_signalled(agent: Agent) -> None:
    """Be this agent until SIGTERM or SIGINT, or until it ends itself."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await agent.until(ended)
    finally:
        await agent.close()
