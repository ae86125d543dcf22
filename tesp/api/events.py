"""Events as they happen, to browsers and programs: server-sent events and WebSocket.

Nothing is buffered for a client: he is given what the log has behind the place that he has come
to, as fast as he takes it. One that takes nothing for a while is cut off, and can resume there.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Message, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from tesp.api.following import Beat, Cut, Following, Wanted, beginning, wanted
from tesp.api.parts import Parts
from tesp.api.presence import while_there
from tesp.api.problems import MEDIA_TYPE as PROBLEM
from tesp.api.problems import answer_to, problem, text_of
from tesp.api.resources import Resource
from tesp.bus import tael
from tesp.errors import TespError
from tesp.store import Logged
from tesp.store.following import LogNews

_log = logging.getLogger(__name__)

BEAT_SECONDS = 15.0
_STALL_SECONDS = 30.0
_STREAM = "text/event-stream"
_RETRY = b"retry: 2000\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_GOING_AWAY, _TRY_AGAIN_LATER = 1001, 1013


class Events:
    """The endpoints of events."""

    def __init__(
        self,
        parts: Parts,
        over: asyncio.Event,
        beat_seconds: float = BEAT_SECONDS,
        stall_seconds: float = _STALL_SECONDS,
    ) -> None:
        news = parts.news or LogNews(parts.log)
        self._log = parts.log
        self._following = Following(parts.log, news, over, beat_seconds)
        self._prefix = parts.topic_prefix
        self._origins = parts.settings.cors_origins
        self._stall_seconds = stall_seconds

    def routes(self) -> list[BaseRoute]:
        """Their routes."""
        return [
            Route("/events", Resource(GET=self.stream, HEAD=self.head)),
            Route("/events/ws", Resource(GET=self.upgrade)),
            WebSocketRoute("/events/ws", self.socket),
        ]

    async def head(self, request: Request) -> Response:
        """What a GET would begin with."""
        await self._asked(request)
        return Response(headers=_HEADERS, media_type=_STREAM)

    async def upgrade(self, request: Request) -> Response:
        """For who comes without the wish for a WebSocket."""
        return problem(426, "This is a WebSocket; see /events.", headers={"Upgrade": "websocket"})

    async def stream(self, request: Request) -> Response:
        """Server-sent events."""
        want, position = await self._asked(request)
        return _Stream(self._sent(want, position), self._stall_seconds)

    async def _asked(self, connection: HTTPConnection) -> tuple[Wanted, int]:
        """Which events, and from where on. Who comes again says how far he came in the header."""
        want = wanted(connection.query_params)
        after, field = connection.headers.get("last-event-id"), "Last-Event-ID"
        if after is None:
            after, field = connection.query_params.get("after"), "after"
        return want, await beginning(self._log, after, field)

    async def _sent(self, want: Wanted, position: int) -> AsyncIterator[bytes]:
        yield _RETRY
        async with aclosing(self._following.entries(want, position)) as entries:
            async for entry in entries:
                yield self._frame(entry)

    def _frame(self, entry: Logged | Beat | Cut) -> bytes:
        """One server-sent event; an id without data is remembered, and shown to nobody."""
        if isinstance(entry, Beat):
            return b": nothing new\nid: %d\n\n" % entry.sequence
        if isinstance(entry, Cut):
            return b": %s\nid: %d\n\n" % (entry.sentence.encode(), entry.sequence)
        return b"id: %d\nevent: state\ndata: %s\n\n" % (entry.sequence, self._payload(entry))

    def _payload(self, entry: Logged) -> bytes:
        return tael.encode(tael.message(entry.event, self._prefix))

    async def socket(self, socket: WebSocket) -> None:
        """The same over WebSocket."""
        if not self._is_ours(socket):
            refused = problem(403, "Pages of this origin may not follow events; see cors_origins.")
            return await socket.send_denial_response(refused)
        try:
            want, position = await self._asked(socket)
        except TespError as error:
            status = answer_to(type(error)).status
            refused = Response(text_of(error), status, media_type=PROBLEM)
            return await socket.send_denial_response(refused)
        await socket.accept()
        await while_there(self._tell(socket, want, position), _left(socket))

    def _is_ours(self, socket: WebSocket) -> bool:
        """Browsers let any page open a WebSocket, and leave it to us to refuse."""
        origin = socket.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return True
        return urlsplit(origin).netloc == socket.headers.get("host")

    async def _tell(self, socket: WebSocket, want: Wanted, position: int) -> None:
        came = position
        async with aclosing(self._following.entries(want, position)) as entries:
            async for entry in entries:
                if isinstance(entry, Cut):
                    return await socket.close(_GOING_AWAY, entry.sentence)
                text = _text(entry, b"{}" if isinstance(entry, Beat) else self._payload(entry))
                try:
                    async with asyncio.timeout(self._stall_seconds):
                        await socket.send_text(text)
                except TimeoutError:
                    return await self._cut_off(socket, came)
                except (WebSocketDisconnect, RuntimeError):
                    return
                came = entry.sequence

    async def _cut_off(self, socket: WebSocket, came: int) -> None:
        sentence = f"too slow: come again with after={came}"
        _log.info("A follower of events is cut off: %s", sentence)
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await socket.close(_TRY_AGAIN_LATER, sentence)


def _text(entry: Logged | Beat, payload: bytes) -> str:
    """A flat JSON object that says its place in the log first; a beat says nothing else."""
    rest = payload[1:].decode()
    return f'{{"sequence":{entry.sequence}{"" if rest == "}" else ","}{rest}'


async def _left(socket: WebSocket) -> None:
    """Wait until the client goes away; what he says is no matter."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


class _Stream(StreamingResponse):
    """A stream that is cut off where nobody takes it."""

    def __init__(self, frames: AsyncIterator[bytes], stall_seconds: float) -> None:
        super().__init__(frames, headers=_HEADERS, media_type=_STREAM)
        self._stall_seconds = stall_seconds

    async def stream_response(self, send: Send) -> None:
        """Send all; what is not taken in time ends it."""

        async def timed(message: Message) -> None:
            async with asyncio.timeout(self._stall_seconds):
                await send(message)

        try:
            await super().stream_response(timed)
        except TimeoutError:
            _log.info("A follower of events is cut off: too slow; it can resume where it was")
