"""A port that others come to."""

import asyncio
from collections.abc import Awaitable, Callable

from tesp.errors import SettingsError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Greet = Callable[[], asyncio.BaseProtocol]


class Doorway:
    """Listens at one address of the settings, which `field` names; `greet` makes the protocol
    that serves who comes."""

    def __init__(self, field: str, host: str, port: int, greet: Greet) -> None:
        self._field, self._host, self._port, self._greet = field, host, port, greet
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Listen; raises SettingsError where that cannot be."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._greet, self._host, self._port)
        except OSError as error:
            raise SettingsError(
                f"{self._field}: {self._host}:{self._port} cannot be listened on: {error}"
            ) from error

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        if self._server is not None:
            self._server.close()


def streams(serve: Serve) -> Greet:
    """What serves each who comes over a pair of streams."""
    return lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader(), serve)
