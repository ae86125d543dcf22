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
            scope["path"] = self._cleaned(scope["path"], scope.get("raw_path"))
        await self._app(scope, receive, send)

    def _cleaned(self, path: str, raw_path: bytes | None) -> str:
        # An escaped slash (%2F) is part of a name: only the raw path tells it from a real one.
        raw = path.encode() if raw_path is None else raw_path
        if b"//" in raw:
            path = _DOUBLED.sub("/", path)
        if raw.endswith(b"/") and path.endswith("/") and path.startswith(self._prefixes):
            path = path[:-1]
        return path
