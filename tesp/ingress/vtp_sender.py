"""Events out: submitted to a broker, one by one."""

import asyncio

from tesp.errors import BusUnavailable, MessageRefused
from tesp.ingress import voevent, vtp, vtp_stream

_TIMEOUT_SECONDS = 20.0
_MOST_ANSWER_BYTES = 100_000


async def publish(host: str, port: int, raw: bytes) -> None:
    """Submit an event; returns when the broker has taken it.

    Raises MessageRefused where it is no event, or the broker refuses it, BusUnavailable where
    the broker is away or silent.
    """
    voevent.parsed(raw)
    where = f"The broker {host}:{port}"
    try:
        async with (
            asyncio.timeout(_TIMEOUT_SECONDS),
            vtp_stream.connected(host, port, _MOST_ANSWER_BYTES, _TIMEOUT_SECONDS) as stream,
        ):
            await stream.send(raw)
            answer = await stream.next()
    except (OSError, TimeoutError) as error:
        raise BusUnavailable(f"{where} gave no answer: {error}") from error
    said = vtp.read(answer) if answer else None
    if said is None or said.role not in ("ack", "nak"):
        raise BusUnavailable(f"{where} did not say whether it took the event.")
    if said.role == "nak":
        raise MessageRefused(f"{where} refused the event: {said.result or 'it gives no reason'}")
