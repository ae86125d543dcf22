"""A port that others come to."""

import asyncio
from collections.abc import Awaitable, Callable

from tesp.errors import SettingsError

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Doorway:
    """Listens at one address of the settings, which `field` names."""

    def __init__(self, field: str, host: str, port: int, serve: Serve) -> None:
        self._field, self._host, self._port, self._serve = field, host, port, serve
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Listen; raises SettingsError where that cannot be."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port)
        except OSError as error:
            raise SettingsError(
                f"{self._field}: {self._host}:{self._port} cannot be listened on: {error}"
            ) from error

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        if self._server is not None:
            self._server.close()
