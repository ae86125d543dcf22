"""Signatures of webhooks: who sent a body, and when. Pure.

The header is `t=<seconds since the epoch>,v1=<hex HMAC-SHA256 over "t.body">`; several `v1` may
stand in it, while a secret is being replaced.
"""

import hashlib
import hmac
import re

HEADER = "Tesp-Signature"
MOST_AGE_SECONDS = 300
_TIME = re.compile(r"[0-9]{1,12}")
_LONGEST = 1024


def signed(secret: bytes, body: bytes, now: float) -> str:
    """The header's value for a body that is sent now."""
    moment = str(int(now))
    return f"t={moment},v1={_digest(secret, moment, body)}"


def refusal(secret: bytes, header: str | None, body: bytes, now: float) -> str | None:
    """Why a body is not believed to come from who has the secret; None where it is."""
    if not header:
        return f"there is no {HEADER}"
    if len(header) > _LONGEST:
        return f"the {HEADER} is too long"
    members = [part.strip().partition("=") for part in header.split(",")]
    times = [value for key, _, value in members if key == "t"]
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        return f"the {HEADER} does not say t=<seconds>"
    expected = _digest(secret, times[0], body).encode()
    given = [value.encode() for key, _, value in members if key == "v1"]
    # All are compared, each in constant time: how long it takes tells nothing of the right one.
    if not sum(hmac.compare_digest(expected, value) for value in given):
        return f"the {HEADER} is not made with the secret for this body"
    if abs(now - int(times[0])) > MOST_AGE_SECONDS:
        return f"the {HEADER} is more than {MOST_AGE_SECONDS} s away from now"
    return None


def _digest(secret: bytes, moment: str, body: bytes) -> str:
    return hmac.new(secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
