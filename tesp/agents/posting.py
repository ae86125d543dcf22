"""Posting: one signed message to one URL. Redirects are not followed."""

import time
from http import HTTPStatus

import aiohttp

from tesp import signature
from tesp.bus import Message, tael
from tesp.errors import BusRefused, BusUnavailable, MessageRefused

# What says that another message might pass.
_AT_FAULT = frozenset({400, 410, 413, 414, 422})
_AGAIN = frozenset({408, 425, 429})


async def post(session: aiohttp.ClientSession, url: str, message: Message, secret: bytes) -> None:
    """Post a message; returns when the receiver has answered 2xx.

    Raises BusUnavailable, MessageRefused or BusRefused, as a sink does.
    """
    body = tael.encode(message)
    try:
        async with session.post(
            url, data=body, headers=_headers(message, body, secret), allow_redirects=False
        ) as response:
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise BusUnavailable(
            f"{_host(url)} gave no answer: {error or 'it took too long'}"
        ) from error
    except ValueError as error:
        raise BusRefused(f"{_host(url)} is no address: {error}") from error
    judge(url, status)


def judge(url: str, status: int) -> None:
    """Return for 2xx; raises what a sink does for all else."""
    if 200 <= status < 300:
        return
    said = f"{_host(url)} answered {status}"
    if status in _AT_FAULT:
        raise MessageRefused(said)
    if status in _AGAIN or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise BusUnavailable(said)
    if 300 <= status < 400:
        raise BusRefused(
            f"{said}, a redirect, which is not followed: give the URL that it leads to"
        )
    raise BusRefused(f"{said}: see that it takes POST without a login at this URL")


def _host(url: str) -> str:
    """The URL without what may be secret in it."""
    return url.split("?", 1)[0]


def _headers(message: Message, body: bytes, secret: bytes) -> dict[str, str]:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "tesp",
        signature.HEADER: signature.signed(secret, body, time.time()),
        "Tesp-Message-Id": message.id,
        "Idempotency-Key": message.id,
        "Tesp-Hops": str(message.hops),
    }
    if message.correlation.isascii() and message.correlation.isprintable():
        headers["X-Correlation-ID"] = message.correlation
    return headers
