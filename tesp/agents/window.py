"""A window: what an agent knows, to read as JSON over HTTP on this machine alone."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tesp.errors import SettingsError

_log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
_GOODBYE_SECONDS = 2


class _Server(uvicorn.Server):
    """Leaves the signals to whoever runs the agent."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(routes: Sequence[Route], port: int, key: str) -> None:
    """Answer GET on these routes for ever; raises SettingsError where the port, which is the
    setting `key`, is taken. On the way out whoever waits for an answer gets it."""
    try:
        listener = socket.create_server((ADDRESS, port))
    except OSError as error:
        raise SettingsError(f"{key} = {port}: {error.strerror}") from error
    config = uvicorn.Config(
        Starlette(routes=list(routes)),
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GOODBYE_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    _log.info("Answers on http://%s:%d.", ADDRESS, port)
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await asyncio.wait([serving])


def answer(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(orjson.dumps(document), status, media_type="application/json")
