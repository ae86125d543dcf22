"""Frames, and what Comet 3.1.0 was heard to say."""

import pytest

from tesp.errors import MessageRefused
from tesp.ingress import vtp
from tests.contract.ingress.events import event

_HEAD = (
    b"<?xml version='1.0' encoding='UTF-8'?>\n"
    b'<trn:Transport xmlns:trn="http://www.telescope-networks.org/xml/Transport/v1.1" '
    b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
)


def test_a_frame_has_its_length_before_it() -> None:
    assert vtp.frame(b"abc") == b"\0\0\0\3abc"
    assert vtp.length(b"\0\0\1\0", 256) == 256


@pytest.mark.parametrize("header", [b"\0\0\0\0", b"\0\0\1\1", b"\xff\xff\xff\xff"])
def test_a_frame_of_nothing_or_too_much_is_refused(header: bytes) -> None:
    with pytest.raises(MessageRefused, match="the most is 256"):
        vtp.length(header, 256)


@pytest.mark.parametrize(
    ("role", "inside", "said"),
    [
        ("iamalive", b"<Origin>ivo://org.comet/test</Origin>", None),
        ("authenticate", b"<Origin>ivo://org.comet/test</Origin>", None),
        ("nak", b"<Origin>ivo://a.b/c</Origin><Meta><Result>seen</Result></Meta>", "seen"),
    ],
)
def test_what_comet_says_is_read(role: str, inside: bytes, said: str | None) -> None:
    raw = _HEAD + f'version="1.0" role="{role}">'.encode() + inside + b"</trn:Transport>"
    told = vtp.read(raw)
    assert told is not None
    assert told.role == role
    assert told.origin.startswith("ivo://")
    assert told.result == said


def test_what_is_written_is_read_again() -> None:
    raw = vtp.written(
        "nak", "ivo://a.b/c#<1>", 0.0, response="ivo://me/x", result="no & \x00never\n"
    )
    assert b"1970-01-01T00:00:00Z" in raw
    assert vtp.read(raw) == vtp.Transport("nak", "ivo://a.b/c#<1>", "no & never")


def test_filters_are_handed_over_as_comet_takes_them() -> None:
    raw = vtp.written("authenticate", "o", 0.0, response="r", filters=('//Param[@name="a"]',))
    assert b'<Param name="xpath-filter" value="//Param[@name=&quot;a&quot;]"' in raw


def test_an_event_is_nothing_that_is_said_around_events() -> None:
    assert vtp.read(event()) is None


def test_a_role_that_nobody_knows_is_refused() -> None:
    with pytest.raises(MessageRefused, match="role"):
        vtp.read(_HEAD + b'role="boss"/>')
