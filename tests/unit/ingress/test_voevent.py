"""What VOEvents say as messages, and what is none."""

import pytest

from tesp.bus import tael
from tesp.errors import MessageRefused
from tesp.ingress import voevent
from tests.contract.ingress.events import event


def params(what: str) -> dict[str, object]:
    return dict(voevent.parsed(event(what=what)).params)


def test_an_event_is_flat_and_its_status_comes_last() -> None:
    told = voevent.message(voevent.parsed(event("ivo://org.example/grb#7")), "site", 5.0)
    assert told.topic == "site/voevent/observation/status"
    assert dict(told.payload) == {
        "ivorn": "ivo://org.example/grb#7",
        "role": "observation",
        "author": "ivo://org.example/author",
        "time": "2026-01-02T03:04:05",
        "param.TrigID": 1234,
        "param.Burst.Flux": 0.5,
        "status": "finished",
    }
    assert list(told.payload)[-1] == "status"
    assert told.time == 1767323045.0
    assert (told.hops, told.correlation) == (0, told.id)


def test_the_same_packet_has_the_same_id_and_another_packet_another() -> None:
    raw = event("ivo://org.example/grb#7")
    ids = [voevent.message(voevent.parsed(one), "t", 0.0).id for one in (raw, raw, raw + b"\n")]
    assert ids[0] == ids[1] != ids[2]


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ('value="5" dataType="int"', 5),
        ('value="5.5" dataType="int"', "5.5"),
        ('value="99999999999999999999" dataType="int"', "99999999999999999999"),
        ('value="1e3" dataType="float"', 1000.0),
        ('value="NaN" dataType="float"', "NaN"),
        ('value="1e999" dataType="float"', "1e999"),
        ('value="5"', "5"),
        ("", None),
    ],
)
def test_values_have_their_type_or_stay_text(attributes: str, value: object) -> None:
    assert params(f'<Param name="a" {attributes}/>') == {"param.a": value}


def test_a_value_may_stand_inside() -> None:
    inside = '<Param name="a" dataType="int"><Value>7</Value></Param>'
    assert params(inside) == {"param.a": 7}


def test_names_that_come_again_are_numbered() -> None:
    twice = '<Param name="a" value="1"/><Param name="a" value="2"/><Param value="3"/>'
    assert params(twice) == {"param.a": "1", "param.a.2": "2", "param.unnamed": "3"}


def test_what_can_be_put_into_names_does_no_harm() -> None:
    found = params('<Param name="a&#10;b" value="1"/><Group name="PATH"><Param name="x"/></Group>')
    assert found == {"param.a_b": "1", "param.PATH.x": None}


def test_an_event_with_more_than_a_message_can_say_is_refused() -> None:
    many = "".join(f'<Param name="p{number}"/>' for number in range(1001))
    with pytest.raises(MessageRefused, match="keys"):
        voevent.message(voevent.parsed(event(what=many)), "t", 0.0)
    big = f'<Param name="a" value="{"x" * tael.MOST_BYTES}"/>'
    with pytest.raises(MessageRefused, match="bytes"):
        voevent.message(voevent.parsed(event(what=big)), "t", 0.0)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]>', "DTD"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "DTD"),
        ('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">', "DTD"),
        ("<!DOCTYPE x>", "DTD"),
    ],
)
def test_what_has_a_dtd_or_entities_is_refused(head: str, kind: str) -> None:
    raw = event().replace(b"<voe:VOEvent", head.encode() + b"<voe:VOEvent", 1)
    with pytest.raises(MessageRefused, match=kind):
        voevent.parsed(raw)


def test_billions_of_laughs_are_refused_at_once() -> None:
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE x [<!ENTITY l0 "ha">{levels}]><x>&l9;</x>'
    with pytest.raises(MessageRefused):
        voevent.parsed(bomb.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 1000,
        bytes(range(256)),
        b'<?xml version="1.0" encoding="no-such"?><x/>',
        b'<?xml version="1.0" encoding="utf-7"?><x/>',
        b"<a>" * 50_000,
        b"<a>" * 20_000 + b"</a>" * 20_000,
        event()[:-20],
    ],
)
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(MessageRefused):
        voevent.parsed(raw)


@pytest.mark.parametrize(
    "ivorn",
    ["", "http://example.org", "ivo://x", "ivo://a b", "ivo://org.example/x#" + "y" * 300],
)
def test_who_has_no_identifier_is_refused(ivorn: str) -> None:
    raw = event("IVORN").replace(b"IVORN", ivorn.encode(), 1)
    with pytest.raises(MessageRefused, match="ivorn"):
        voevent.parsed(raw)


@pytest.mark.parametrize(
    ("ivorn", "name"),
    [
        ("ivo://org.example/grb#7", "ivo__org.example_grb7"),
        ("../../etc/passwd", "._.._etc_passwd"),
        (".", "_"),
        ("..", "_."),
        ("a\\b\0c\n", "a_bc"),
        ("x" * 500, "x" * 200),
    ],
)
def test_files_are_called_as_comet_calls_them_and_never_lead_elsewhere(
    ivorn: str, name: str
) -> None:
    assert voevent.file_name(ivorn) == name
    assert "/" not in name
