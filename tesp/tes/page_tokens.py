"""Page tokens: where a page ended, bound to the filters of its list.

The digest keeps a token from being used with other filters or after a slip of the hand. It is
no secret: a position gives away nothing that the list itself does not show.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable

from tesp.errors import InvalidTask, Problem
from tesp.tes.states import State

_DIGEST_BYTES = 12


def binding(
    states: Iterable[State] | None,
    name_prefix: str | None,
    tags: Iterable[tuple[str, str | None]],
) -> bytes:
    """What tells the filters of one list from those of another. The view is no filter."""
    known = [None if states is None else sorted(states), name_prefix, [list(t) for t in tags]]
    return json.dumps(known).encode()


def seal(position: str, filters: bytes) -> str:
    """The token for the page after `position`."""
    plain = position.encode()
    return base64.urlsafe_b64encode(_digest(plain, filters) + plain).decode().rstrip("=")


def unseal(token: str, filters: bytes) -> str:
    """The position in a token; raises InvalidTask where it is not of a list with these filters."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
        digest, plain = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest == _digest(plain, filters) and seal(plain.decode(), filters) == token:
            return plain.decode()
    except (binascii.Error, ValueError):
        pass
    message = "is not a token of this list; use it with the filters that it was given for"
    raise InvalidTask([Problem("page_token", message)])


def _digest(plain: bytes, filters: bytes) -> bytes:
    return hashlib.blake2b(filters + b"\0" + plain, digest_size=_DIGEST_BYTES).digest()
