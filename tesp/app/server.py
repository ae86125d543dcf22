"""The HTTP server of the API, which tells when it answers and ends in good order."""

import asyncio
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tesp.api import Waiting
from tesp.errors import SettingsError
from tesp.settings import ServerSettings, Settings


@dataclass(frozen=True, slots=True)
class Ready:
    """What the operator is told when the service can be used: where it answers, how tasks run
    on this machine (None: they do not), where it keeps what it keeps, and its Pulsars."""

    url: str | None
    runtime: str | None
    data_dir: Path
    pulsars: tuple[str, ...] = ()


class Server(uvicorn.Server):
    """Announces itself when it answers."""

    def __init__(
        self,
        api: FastAPI,
        settings: Settings,
        runtime: str | None,
        announce: Callable[[Ready], None],
    ) -> None:
        """`runtime` is what the operator is told of how containers are started here. Raises
        SettingsError where the certificate cannot be used."""
        _check_certificate(settings.server)
        super().__init__(
            uvicorn.Config(
                api,
                host=settings.server.host,
                port=settings.server.port,
                loop="none",
                http="httptools",
                ws="websockets-sansio",
                ws_max_size=1 << 16,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=5,
                ssl_certfile=settings.server.certificate,
                ssl_keyfile=settings.server.certificate_key,
            )
        )
        self._waiting: Waiting = api.state.waiting
        self._settings = settings
        self._runtime = runtime
        self._announce = announce

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; who waits for a task is answered now, or the end would wait for them."""
        super().handle_exit(sig, frame)
        self._waiting.end()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only ask the server to end; uvicorn's own way kills the process before it is closed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then tell where."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            url = f"{self._settings.server.scheme}://{self._settings.server.host}:{port}"
            pulsars = tuple(p.name for p in self._settings.pulsars)
            self._announce(Ready(url, self._runtime, self._settings.data_dir, pulsars))


def _check_certificate(server: ServerSettings) -> None:
    if server.certificate is None:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # An empty password: a key that is encrypted is refused, and nobody is asked.
        context.load_cert_chain(server.certificate, server.certificate_key, password="")
    except OSError as error:
        raise SettingsError(
            f"server.certificate {server.certificate} with its key cannot be used: {error}. It is "
            "a PEM file with the certificate, and the key unless server.certificate_key names its "
            "file"
        ) from error
