"""Signatures: made as others can check them, believed only as long as they are fresh and whole."""

import hashlib
import hmac

import pytest

from tesp.signature import refusal, signed

SECRET, BODY, NOW = b"0123456789abcdef", b'{"task":"t"}', 1_700_000_000.7
GOOD = signed(SECRET, BODY, NOW)


def test_a_signature_is_the_hmac_of_time_and_body() -> None:
    digest = hmac.new(SECRET, b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert f"t=1700000000,v1={digest}" == GOOD


@pytest.mark.parametrize("late", [-299, 0, 1, 299])
def test_a_fresh_signature_is_believed(late: float) -> None:
    assert refusal(SECRET, GOOD, BODY, NOW + late) is None


@pytest.mark.parametrize("late", [-302, 302, 1e9])
def test_an_old_one_and_one_of_the_future_are_not(late: float) -> None:
    assert "300 s" in str(refusal(SECRET, GOOD, BODY, NOW + late))


def test_while_a_secret_is_replaced_either_is_believed() -> None:
    other = signed(b"another secret..", BODY, NOW).partition(",")[2]
    assert refusal(SECRET, f"{GOOD},{other}", BODY, NOW) is None
    assert refusal(b"another secret..", f"{GOOD},{other}", BODY, NOW) is None


@pytest.mark.parametrize(
    ("secret", "header", "body"),
    [
        (b"another secret..", GOOD, BODY),
        (SECRET, GOOD, BODY + b" "),
        (SECRET, GOOD.replace("t=1700000000", "t=1700000001"), BODY),
        (SECRET, GOOD.partition(",")[0], BODY),
        (SECRET, GOOD.partition(",")[2], BODY),
        (SECRET, GOOD[:-1], BODY),
        (SECRET, f"t=1700000001,{GOOD}", BODY),
        (SECRET, "t=-1,v1=00", BODY),
        (SECRET, "t=1700000000,v1=é", BODY),
        (SECRET, "v1=" * 1000, BODY),
        (SECRET, "", BODY),
        (SECRET, None, BODY),
    ],
)
def test_what_was_forged_is_refused(secret: bytes, header: str | None, body: bytes) -> None:
    assert refusal(secret, header, body, NOW)
