"""From a request to a task that may be stored: the same for one alone and for each of many."""

import hashlib
import re
from dataclasses import dataclass

from starlette.requests import Request

from tesp.api.parts import Parts
from tesp.bus import MOST_HOPS
from tesp.errors import Conflict, InvalidTask, Problem
from tesp.store import IdempotencyKey, NewTask
from tesp.tes.parsing import parse

_CORRELATION = re.compile(r"[\x20-\x7e]{1,128}")
_HOPS = re.compile(r"[0-9]{1,9}")
_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Origin:
    """What led to a task: a cause that it shares with others, and so many triggers."""

    correlation: str | None = None
    hops: int = 0


def new_task(
    parts: Parts, owner: str, body: bytes, key: IdempotencyKey | None, origin: Origin
) -> NewTask:
    """The task in a body; raises InvalidTask."""
    return parts.admission.task(parse(body), owner, key, origin.correlation, origin.hops)


def origin_of(request: Request) -> Origin:
    """What the client says of it; raises Conflict where a chain of triggers has no end."""
    correlation = request.headers.get("x-correlation-id")
    if correlation is not None and not _CORRELATION.fullmatch(correlation):
        message = "must be 1 to 128 printable ASCII characters"
        raise InvalidTask([Problem("X-Correlation-ID", message)])
    hops = request.headers.get("tesp-hops", "0")
    if not _HOPS.fullmatch(hops):
        raise InvalidTask([Problem("Tesp-Hops", f"must be a whole number from 0 to {MOST_HOPS}")])
    if int(hops) > MOST_HOPS:
        raise Conflict(f"Tesp-Hops: {hops} hops are too many; triggers stop at {MOST_HOPS}.")
    return Origin(correlation, int(hops))


def idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    """The client's key for this very body, where it gives one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "must be 1 to 255 printable ASCII characters"
        raise InvalidTask([Problem("Idempotency-Key", message)])
    return IdempotencyKey(key, hashlib.sha256(body).hexdigest())
