"""One URL with its methods, as an ASGI application: nothing stands between it and the router."""

from collections.abc import Awaitable, Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

Endpoint = Callable[[Request], Awaitable[Response]]


class Resource:
    """Calls the endpoint of the request's method; 405 for all others. HEAD is as GET."""

    def __init__(self, **endpoints: Endpoint) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints.setdefault("HEAD", endpoints["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            allowed = ", ".join(sorted(self._endpoints))
            raise HTTPException(405, f"Only {allowed} here.", {"Allow": allowed})
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)
