"""Slashes that clients double or leave behind: made right in place, as a POST that is
redirected loses its body in some of them."""

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

_DOUBLED = re.compile("//+")


class Slashes:
    """Collapses doubled slashes, and drops the last one below `prefixes`."""

    def __init__(self, app: ASGIApp, prefixes: Sequence[str]) -> None:
        self._app = app
        self._prefixes = tuple(f"{prefix}/" for prefix in prefixes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            path = scope["path"]
            if "//" in path:
                path = _DOUBLED.sub("/", path)
            if path.endswith("/") and path.startswith(self._prefixes):
                path = path[:-1]
            scope["path"] = path
        await self._app(scope, receive, send)
