"""A client of server-sent events that reads as the standard says, with nothing but sockets."""

import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

_SECONDS = 30.0


@dataclass(frozen=True)
class Sent:
    """One event; `id` is the last event id, also where it was set without an event."""

    id: str
    event: str
    data: str

    @property
    def payload(self) -> dict[str, Any]:
        """The data as JSON."""
        payload: dict[str, Any] = json.loads(self.data)
        return payload


class EventStream:
    """One connection; `comments` are those that came, `last_id` is what to resume with."""

    def __init__(self, url: str, last_id: str | None = None, room_bytes: int = 0) -> None:
        """`room_bytes`: how much the system keeps for a client who does not read."""
        parts = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(parts.netloc), timeout=_SECONDS)
        if room_bytes:
            self._connection.sock = _small(str(parts.hostname), int(parts.port or 80), room_bytes)
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        self._connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        self.response = self._connection.getresponse()
        self.last_id = last_id or ""
        self.comments: list[str] = []

    def __iter__(self) -> Iterator[Sent]:
        kind, data, known = "message", list[str](), self.last_id
        for raw in self.response:
            line = raw.decode().rstrip("\r\n")
            if not line:
                # What was broken off in the middle never happened.
                self.last_id = known
                if data:
                    yield Sent(self.last_id, kind, "\n".join(data))
                kind, data = "message", []
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "":
                self.comments.append(value)
            elif field == "id":
                known = value
            elif field == "event":
                kind = value
            elif field == "data":
                data.append(value)

    def take(self, count: int) -> list[Sent]:
        """The next events."""
        found: list[Sent] = []
        for sent in self:
            found.append(sent)
            if len(found) == count:
                break
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.response.close()
        self._connection.close()


def _small(host: str, port: int, room_bytes: int) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room_bytes)
    connection.settimeout(_SECONDS)
    connection.connect((host, port))
    return connection
