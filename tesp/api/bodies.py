"""Bodies of requests: read up to a size, and no further."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request


async def read(request: Request, most_bytes: int) -> bytes:
    """The body; 413 where it is larger than `most_bytes`, told before it is read where known."""
    if _announced(request) > most_bytes:
        raise _too_large(most_bytes)
    message = await request.receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        return _within(body, most_bytes)
    chunks, total = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        total += len(chunks[-1])
        if total > most_bytes:
            raise _too_large(most_bytes)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await request.receive()


def _announced(request: Request) -> int:
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() and length.isascii() else 0


def _within(body: bytes, most_bytes: int) -> bytes:
    if len(body) > most_bytes:
        raise _too_large(most_bytes)
    return body


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(
        413, f"The body is larger than {most_bytes} bytes; bring large inputs in by their url."
    )
