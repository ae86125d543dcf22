"""Signatures of webhooks: `Tesp-Signature: t=<unix>,v1=<hex>`, HMAC-SHA256 of `t.body`. Pure."""

import hashlib
import hmac
import re

HEADER = "Tesp-Signature"
TOLERANCE_SECONDS = 300.0
_SHAPE = re.compile(r"t=(\d{1,12})((?:,v1=[0-9a-f]{64}){1,4})", re.ASCII)


def signed(body: bytes, secret: bytes, now: float) -> str:
    """The header of a body that is sent now."""
    moment = str(int(now))
    return f"t={moment},v1={_digest(moment, body, secret)}"


def refusal(header: str | None, body: bytes, secret: bytes, now: float) -> str | None:
    """Why a signature is none; None where it is good. Several may stand there, while a secret
    is exchanged for another."""
    shape = _SHAPE.fullmatch(header or "")
    if shape is None:
        return f"The header {HEADER} must be t=<unix seconds>,v1=<64 hexadecimal digits>."
    moment, signatures = shape.groups()
    expected = _digest(moment, body, secret)
    given = [one.removeprefix("v1=") for one in signatures.strip(",").split(",")]
    if not any(hmac.compare_digest(one, expected) for one in given):
        return "The signature does not fit the body and the secret."
    if abs(now - int(moment)) > TOLERANCE_SECONDS:
        return f"The signature is older than {TOLERANCE_SECONDS:g} s, or of the future."
    return None


def _digest(moment: str, body: bytes, secret: bytes) -> str:
    return hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
