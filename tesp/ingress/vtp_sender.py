"""Events out: submitted to a broker, one by one."""

import asyncio

from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.ingress import voevent, vtp, vtp_stream
from tesp.ingress.vtp import Transport

_TIMEOUT_SECONDS = 20.0
_MOST_ANSWER_BYTES = 100_000
# Comet hangs up on a longer one, whoever sends it and however often.
_SAFE_BYTES = 99_999


async def publish(host: str, port: int, raw: bytes) -> None:
    """Submit an event; returns when the broker has taken it.

    Raises MessageRefused where it is no event, or the broker refuses it, BusUnavailable where
    the broker is away or silent, and BusRefused where nobody takes events at that port.
    """
    voevent.parsed(raw)
    where = f"The broker {host}:{port}"
    answer = await _answer(host, port, raw, where)
    if answer is None:
        raise _hung_up(where, len(raw))
    said = _read(answer, where)
    if said.role == "nak":
        raise MessageRefused(f"{where} refused the event: {said.result or 'it gives no reason'}")


async def _answer(host: str, port: int, raw: bytes, where: str) -> bytes | None:
    """What it says to the event; None where it hangs up instead."""
    try:
        async with (
            asyncio.timeout(_TIMEOUT_SECONDS),
            vtp_stream.connected(host, port, _MOST_ANSWER_BYTES, _TIMEOUT_SECONDS) as stream,
        ):
            await stream.send(raw)
            return await stream.next()
    except ConnectionError:
        return None
    except MessageRefused as error:
        raise BusRefused(f"{where} does not speak VTP: {error}") from error
    except (OSError, TimeoutError) as error:
        raise BusUnavailable(f"{where} gave no answer: {str(error) or 'it was silent'}") from error


def _hung_up(where: str, size: int) -> BusUnavailable | MessageRefused:
    if size > _SAFE_BYTES:
        return MessageRefused(
            f"{where} hung up on the event without a word: it has {size} bytes, and some brokers "
            f"take {_SAFE_BYTES} at most"
        )
    return BusUnavailable(
        f"{where} hung up without a word: it ends just now, or takes no events from this machine"
    )


def _read(answer: bytes, where: str) -> Transport:
    """What the broker says of the event."""
    try:
        said = vtp.read(answer)
    except MessageRefused as error:
        raise BusRefused(f"{where} does not speak VTP: {error}") from error
    if said is None or said.role not in ("ack", "nak"):
        raise BusRefused(
            f"{where} gives events at that port and takes none: authors have another, often 8098"
        )
    return said
