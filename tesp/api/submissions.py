"""From a request to a task that may be stored: the same for one alone and for each of many."""

import hashlib
import re

from starlette.requests import Request

from tesp.api.parts import Parts
from tesp.errors import InvalidTask, Problem
from tesp.store import IdempotencyKey, NewTask
from tesp.store.admission import Admission
from tesp.tes.parsing import parse

_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")


def new_task(parts: Parts, owner: str, body: bytes, key: IdempotencyKey | None) -> NewTask:
    """The task in a body; raises InvalidTask."""
    admission = Admission(parts.limits, parts.check_url)
    return admission.task(parse(body), owner, key)


def idempotency_key(request: Request, body: bytes) -> IdempotencyKey | None:
    """The client's key for this very body, where it gives one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        message = "must be 1 to 255 printable ASCII characters"
        raise InvalidTask([Problem("Idempotency-Key", message)])
    return IdempotencyKey(key, hashlib.sha256(body).hexdigest())
