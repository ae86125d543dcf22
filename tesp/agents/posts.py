"""Posts: what brings letters from agent to agent. The bus, or plain TCP with text in lines."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol

from tesp.agents import letters
from tesp.agents.letters import Letter
from tesp.agents.secret import is_right
from tesp.bus import Bus, brokers
from tesp.errors import BusRefused, BusUnavailable, MessageRefused, SettingsError
from tesp.settings import AgentSettings, Settings
from tesp.settings.urls import is_loopback

_log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 300.0
_MOST_WAITING = 1000
_MOST_CONNECTIONS = 64
_TAKEN = b"ok\n"


class Post(Protocol):
    """Brings letters. Raises BusUnavailable (try again) or BusRefused (final)."""

    async def send(self, to: str, letter: Letter) -> None:
        """Returns when the broker, or the agent's own process, has it."""
        ...

    def receive(self, name: str) -> AbstractAsyncContextManager[AsyncIterator[Letter]]:
        """The letters to the agent of that name, from now on."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


def post_of(settings: Settings) -> Post:
    """TCP where the settings have addresses of agents, else the bus of the first broker."""
    if settings.agents.addresses:
        return TcpPost(settings.agents)
    return BusPost(brokers.of(settings.bus)[0], settings.bus.prefix)


def post_over(bus: Bus, settings: Settings, name: str, prefix: str) -> Post:
    """TCP where the settings have an address of the agent, else a bus that is there already."""
    if name in settings.agents.addresses:
        return TcpPost(settings.agents)
    return BusPost(bus, prefix)


class BusPost:
    """Letters on `{prefix}/agents/{agent}/{letter}`."""

    def __init__(self, bus: Bus, prefix: str) -> None:
        self._bus, self._prefix = bus, prefix

    async def send(self, to: str, letter: Letter) -> None:
        """Publish it."""
        topic = f"{self._prefix}/agents/{to}/{letter.name}"
        await self._bus.publish([letters.message_of(letter, topic)])

    @asynccontextmanager
    async def receive(self, name: str) -> AsyncIterator[AsyncIterator[Letter]]:
        """Each letter is acknowledged when the next is asked for."""
        topics = f"{self._prefix}/agents/{name}/+"
        async with self._bus.subscribe(topics, name=f"agent-{name}") as deliveries:

            async def received() -> AsyncIterator[Letter]:
                async for delivery in deliveries:
                    try:
                        yield letters.letter_of(delivery.message, delivery.trusted)
                    except MessageRefused as error:
                        _log.warning("%s: dropped a letter: %s", name, error)

            yield received()

    async def close(self) -> None:
        """Close the bus."""
        await self._bus.close()


class TcpPost:
    """A line a letter, and a line for an answer: `ok`, or `no` and why."""

    def __init__(self, settings: AgentSettings) -> None:
        self._addresses = settings.addresses
        self._secret = settings.secret.get_secret_value() if settings.secret else None

    async def send(self, to: str, letter: Letter) -> None:
        """Returns when the agent has taken it into its queue."""
        host, port = self._address(to)
        line = letters.line_of(letter, self._secret)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                answer = await _exchanged(host, port, line)
        except (OSError, ValueError) as error:
            why = str(error) or "it says nothing"
            raise BusUnavailable(f"The agent {to} at {host}:{port}: {why}.") from error
        if answer == b"no: busy\n" or not answer:
            raise BusUnavailable(f"The agent {to} has no time now.")
        if answer != _TAKEN:
            said = answer.decode(errors="replace").strip()
            raise MessageRefused(f"The agent {to} refuses the letter {letter.name}: {said}")

    @asynccontextmanager
    async def receive(self, name: str) -> AsyncIterator[AsyncIterator[Letter]]:
        """Listen at our address. Beyond loopback it takes a secret."""
        host, port = self._address(name)
        if not (self._secret or is_loopback(host)):
            raise SettingsError(
                f"agents.secret must be set: {name} listens at {host}, where others can send"
            )
        desk = _Desk(name, self._secret)
        try:
            server = await asyncio.start_server(desk.serve, host, port, limit=letters.MOST_BYTES)
        except OSError as error:
            raise SettingsError(f"agents.addresses.{name}: {host}:{port}: {error}") from error
        try:
            yield desk.letters()
        finally:
            server.close()
            desk.end()

    async def close(self) -> None:
        """Nothing is kept open."""

    def _address(self, name: str) -> tuple[str, int]:
        address = self._addresses.get(name)
        if address is None:
            there = ", ".join(sorted(self._addresses)) or "none"
            raise BusRefused(f"agents.addresses: there is no {name}; there are: {there}")
        host, _, port = address.rpartition(":")
        return host.strip("[]"), int(port)


class _Desk:
    """Takes lines from connections, and keeps the letters until they are read."""

    def __init__(self, name: str, secret: str | None) -> None:
        self._name, self._secret = name, secret
        self._waiting: asyncio.Queue[Letter] = asyncio.Queue(_MOST_WAITING)
        self._connections: set[asyncio.Task[None]] = set()

    async def letters(self) -> AsyncIterator[Letter]:
        """For ever."""
        while True:
            yield await self._waiting.get()

    def end(self) -> None:
        """Hang up."""
        for connection in self._connections:
            connection.cancel()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, as long as it says something that is a letter."""
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            if len(self._connections) <= _MOST_CONNECTIONS:
                await self._converse(reader, writer)
        except (OSError, TimeoutError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    line = await reader.readline()
            except ValueError:
                line, answer = b"", f"no: a line has {letters.MOST_BYTES} bytes at most\n".encode()
            else:
                answer = self._answer(line) if line.endswith(b"\n") else b""
            writer.write(answer)
            async with asyncio.timeout(_ANSWER_SECONDS):
                await writer.drain()
            if not line.endswith(b"\n"):
                return

    def _answer(self, line: bytes) -> bytes:
        try:
            letter, secret = letters.read(line)
            self._check(secret)
            self._waiting.put_nowait(replace(letter, trusted=self._secret is not None))
        except MessageRefused as error:
            _log.warning("%s: refused a letter: %s", self._name, error)
            return f"no: {error}\n".encode(errors="replace")
        except asyncio.QueueFull:
            return b"no: busy\n"
        return _TAKEN

    def _check(self, said: str | None) -> None:
        if self._secret is not None and not is_right(said, self._secret):
            raise MessageRefused("it does not say the secret")


async def _exchanged(host: str, port: int, line: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, limit=letters.MOST_BYTES)
    try:
        writer.write(line)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
