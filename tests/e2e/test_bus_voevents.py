"""`tesp bus send --voevent`: from files to a broker of VOEvents; nothing is lost."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.ingress.voevent import file_name
from tests.contract.ingress.events import event, ivorn
from tests.peers.bus_programs import bus
from tests.peers.comet import Comet
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.event_stream import EventStream
from tests.peers.room import Room, answers, free_port, wait_until
from tests.peers.server_fixtures import StartServer

_NAMES = re.compile(r"VOEvent (\S+) received from")
_ACCENT = '<Param name="place" value="Orléans"/>'


@pytest.fixture(scope="module")
def comet() -> Iterator[Comet]:
    """One for the tests that leave it running: each has events of its own."""
    with Room.temporary() as room:
        yield Comet.boot(room)


@pytest.fixture
def own_comet() -> Iterator[Comet]:
    """One that a test may end."""
    with Room.temporary() as room:
        yield Comet.boot(room)


def files(directory: Path, *events: bytes) -> list[str]:
    """A file for each event, as words of a command line."""
    words = []
    for number, raw in enumerate(events):
        (directory / f"{number}.xml").write_bytes(raw)
        words += ["--voevent", f"{number}.xml"]
    return words


def name_of(raw: bytes) -> str:
    """The identifier of an event in any encoding."""
    return ivorn(bytes(sign for sign in raw if 0 < sign < 128))


def odd_ones() -> tuple[bytes, bytes, bytes]:
    """Events that no program keeps byte for byte that takes them for text."""
    text = event(what=_ACCENT).decode()
    latin = text.replace("UTF-8", "ISO-8859-1").encode("ISO-8859-1")
    wide = event(what=_ACCENT).decode().replace("UTF-8", "UTF-16").encode("UTF-16")
    return latin, wide, event().replace(b"\n", b"\r\n")


def to(port: int) -> list[str]:
    return ["--to", f"127.0.0.1:{port}"]


def received(comet: Comet) -> list[str]:
    """The events that it was given, in their order and as often."""
    return _NAMES.findall(comet.log)


def text_of(raw: bytes) -> str:
    """What an event says, in its own encoding."""
    if raw.startswith(b"\xff\xfe"):
        return raw.decode("UTF-16")
    return raw.decode("ISO-8859-1" if b"ISO-8859-1" in raw else "UTF-8")


def wait_until_saved(comet: Comet, *events: bytes) -> None:
    """Wait until Comet has saved them; it writes all as UTF-8."""
    for raw in events:
        path, text = comet.saved / file_name(name_of(raw)), text_of(raw).encode()
        wait_until(lambda p=path, t=text: p.exists() and p.read_bytes() == t, f"saves {path.name}")


def test_comet_takes_files_and_the_standard_input_in_their_order(
    comet: Comet, tmp_path: Path
) -> None:
    told, odd = event(), odd_ones()
    words = [*files(tmp_path, *odd), "--voevent", "-"]
    done = bus(tmp_path, "send", *words, *to(comet.receive_port), told=told.decode())
    assert done.returncode == 0, done.stderr
    wait_until_saved(comet, *odd, told)
    assert received(comet)[-4:] == [name_of(raw) for raw in (*odd, told)]


def test_our_own_service_takes_each_byte_of_what_waited_and_of_what_did_not(
    start_server: StartServer, tmp_path: Path
) -> None:
    port, kept = free_port(), tmp_path / "kept"
    task = {"name": "{ivorn}", "executors": [{"image": "i", "command": ["true"]}]}
    trigger = {"name": "v", "topic": "tesp/voevent/#", "trusted_only": False, "task": task}
    ways = {"voevent": {"receive": True, "receive_port": port, "directory": str(kept)}}
    early, late = odd_ones(), odd_ones()
    assert bus(tmp_path, "send", *files(tmp_path, *early), *to(port)).returncode == 75
    server = start_server(ingress=ways, triggers=[trigger])
    wait_until(lambda: answers(port), "the way in for events")
    with EventStream(f"{server.url}/events") as stream:
        begun = (one.payload["name"] for one in stream if one.payload["state"] == "QUEUED")
        assert bus(tmp_path, "flush", *to(port)).returncode == 0
        assert bus(tmp_path, "send", *files(tmp_path, *late), *to(port)).returncode == 0
        events = [*early, *late]
        assert [next(begun) for _ in events] == [name_of(raw) for raw in events]
    assert {file.read_bytes() for file in kept.iterdir()} == set(events)


def test_what_no_broker_took_comes_later_in_order_and_once(
    own_comet: Comet, tmp_path: Path
) -> None:
    way, odd, last = to(own_comet.receive_port), odd_ones(), event()
    own_comet.stop()
    away = bus(tmp_path, "send", *files(tmp_path, *odd), *way)
    assert away.returncode == 75, away.stderr
    assert "cannot be reached" in away.stderr
    assert "waits on disk" in away.stderr
    assert bus(tmp_path, "flush", *way).returncode == 75
    own_comet.start()
    # What waits goes before what is sent then.
    done = bus(tmp_path, "send", "--voevent", "-", *way, told=last.decode())
    assert done.returncode == 0, done.stderr
    assert bus(tmp_path, "flush", *way).returncode == 0
    assert received(own_comet) == [name_of(raw) for raw in (*odd, last)]
    wait_until_saved(own_comet, *odd)


def test_a_broker_that_goes_away_in_the_middle_is_asked_about_no_event_twice(
    comet: Comet, tmp_path: Path
) -> None:
    events = [event() for _ in range(6)]
    whole, cut = 10**9, 5
    with CuttingProxy(comet.receive_port) as proxy:
        # Three tries each time: of the second event, then of the fourth.
        for first, more in ((["send", *files(tmp_path, *events)], 3), (["flush"], 0)):
            proxy.cut_up = [whole, cut, cut, cut, *[cut] * more]
            away = bus(tmp_path, *first, *to(proxy.port))
            assert (away.returncode, "hung up" in away.stderr) == (75, True), away.stderr
            proxy.cut_up.clear()
        done = bus(tmp_path, "flush", *to(proxy.port))
    assert done.returncode == 0, done.stderr
    assert received(comet)[-6:] == [name_of(raw) for raw in events]


def test_what_the_broker_refuses_is_told_and_stops_no_other(comet: Comet, tmp_path: Path) -> None:
    known, new = event(), event()
    way = to(comet.receive_port)
    assert bus(tmp_path, "send", *files(tmp_path, known), *way).returncode == 0
    refused = bus(tmp_path, "send", *files(tmp_path, known, new), *way)
    assert refused.returncode == 2
    assert f"{name_of(known)}: The broker" in refused.stderr
    assert "Previously seen by this broker" in refused.stderr
    wait_until_saved(comet, new)
    # It has not waited: whoever sent it was told.
    assert list(tmp_path.rglob("refused")) == []


def test_what_waited_and_is_refused_is_put_aside_with_the_reason_of_the_broker(
    own_comet: Comet, tmp_path: Path
) -> None:
    known, new, way = event(), event(), to(own_comet.receive_port)
    assert bus(tmp_path, "send", *files(tmp_path, known), *way).returncode == 0
    own_comet.stop()
    assert bus(tmp_path, "send", *files(tmp_path, known, new), *way).returncode == 75
    own_comet.start()
    done = bus(tmp_path, "flush", *way)
    assert done.returncode == 2
    (aside,) = tmp_path.rglob("refused")
    assert "Previously seen by this broker" in done.stderr
    assert str(aside) in done.stderr
    (line,) = map(json.loads, aside.read_text().splitlines())
    assert "Event rejected: Previously seen by this broker" in line["reason"]
    assert line["message"]["payload"]["voevent"].encode() == known
    wait_until_saved(own_comet, new)
    assert received(own_comet) == [name_of(known), name_of(known), name_of(new)]
    assert bus(tmp_path, "flush", *way).returncode == 0


def test_an_event_that_is_too_large_for_the_broker_stops_no_other(
    comet: Comet, tmp_path: Path
) -> None:
    large, new = event(what="<Description>" + 100_000 * "x" + "</Description>"), event()
    done = bus(tmp_path, "send", *files(tmp_path, large, new), *to(comet.receive_port))
    assert done.returncode == 2
    assert f"it has {len(large)} bytes" in done.stderr
    wait_until_saved(comet, new)


def test_a_port_that_takes_no_events_is_told_and_nothing_waits(
    comet: Comet, tmp_path: Path
) -> None:
    done = bus(tmp_path, "send", *files(tmp_path, event()), *to(comet.broadcast_port))
    assert (done.returncode, "gives events at that port" in done.stderr) == (2, True), done.stderr
    waiting = tmp_path.rglob("spool/*/messages")
    assert [file for file in waiting if file.stat().st_size] == []


_GOOD = event()
_BAD = {
    "no-xml": (b"<voe:VOEvent", "bad.xml: this is no XML: unclosed token: line 1, column 0"),
    "bomb": (b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "XML with DTD or entities is not taken"),
    "version": (_GOOD.replace(b'version="2.0"', b'version="1.1"'), "version '1.1'"),
    "root": (b"<x/>", "this is no VOEvent 2.0 ({http://www.ivoa.net/xml/VOEvent/v2.0}VOEvent)"),
    "role": (event(role="rumour"), "the role 'rumour' is none of observation, prediction"),
    "no-role": (_GOOD.replace(b'role="observation"', b""), "it says no role; one of observation"),
    "namespace": (
        _GOOD.replace(b"xmlns:voe=", b"xmlns=").replace(b"voe:VOEvent", b"VOEvent"),
        "VOEvent has no element {http://www.ivoa.net/xml/VOEvent/v2.0}Who; only VOEvent stands",
    ),
    "twice": (_GOOD.replace(b"</Who>", b"</Who><Who/>"), "VOEvent has more than one Who"),
    "date": (_GOOD.replace(b"<Date>", b"<Date>noon "), "is no moment in ISO 8601"),
    "large": (event(what="x" * 600_000), "an event has 524288 bytes at most"),
    "long": (event(what='"' * 300_000), "the most is 524288"),
}


@pytest.mark.parametrize(("raw", "said"), _BAD.values(), ids=_BAD)
def test_what_is_no_event_is_refused_before_anything_is_sent(
    tmp_path: Path, raw: bytes, said: str
) -> None:
    (tmp_path / "bad.xml").write_bytes(raw)
    words = [*files(tmp_path, _GOOD), "--voevent", "bad.xml", *to(free_port())]
    done = bus(tmp_path, "send", *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "--voevent: bad.xml: " in done.stderr
    assert list(tmp_path.rglob("spool")) == []


_EVENT = ("send", "--voevent", "0.xml")
_TO = ("--to", "127.0.0.1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (_EVENT, "--voevent needs --to"),
        (("send", *_TO), "--voevent FILE is missing"),
        (("send", "--voevent", "none.xml", *_TO), "none.xml: No such file"),
        ((*_EVENT, *_TO, "-t", "a/status"), "leave -t out"),
        ((*_EVENT, *_TO, "--attr", "a", "b"), "leave --attr out"),
        ((*_EVENT, *_TO, "--batch", "-"), "leave --batch out"),
        ((*_EVENT, *_TO, "--attach", "0.xml"), "leave --attach out"),
        ((*_EVENT, *_TO, "--host", "mqtt://a"), "leave --host out"),
        ((*_EVENT, *_TO, "--broker", "a"), "leave --broker out"),
        ((*_EVENT, *_TO, "--smtp", "a", "--mail-to", "a@b.example"), "leave --smtp out"),
        ((*_EVENT, *_TO, "--ca-file", "0.xml"), "leave --ca-file out"),
        (("flush", *_TO, "--host", "mqtt://a"), "leave --host out"),
        (("flush", *_TO, "--smtp", "a", "--mail-to", "a@b.example"), "leave --smtp out"),
        ((*_EVENT, "--to", "vtp://127.0.0.1"), "is no HOST or HOST:PORT"),
        ((*_EVENT, "--to", "me@127.0.0.1"), "is no HOST or HOST:PORT"),
        ((*_EVENT, "--to", "127.0.0.1:0"), "is no HOST or HOST:PORT"),
        ((*_EVENT, "--to", "127.0.0.1:high"), "this is no HOST or HOST:PORT"),
        ((*_EVENT, "--to", ":8098"), "is no HOST or HOST:PORT"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    files(tmp_path, _GOOD)
    done = bus(tmp_path, *words)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.rglob("spool")) == []


def test_what_waits_for_another_way_is_no_event_and_stays(tmp_path: Path, comet: Comet) -> None:
    nobody = f"mqtt://127.0.0.1:{free_port()}"
    here = ["--spool", "here"]
    assert bus(tmp_path, "send", "-t", "a/status", "--host", nobody, *here).returncode == 75
    done = bus(tmp_path, "flush", *to(comet.receive_port), *here)
    assert (done.returncode, "is no VOEvent" in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "here" / "messages").stat().st_size
    assert not (tmp_path / "here" / "refused").exists()


def test_the_command_of_the_document_sends_an_event(comet: Comet, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs/bus.md").read_text()
    script = text.split("<!-- event sender -->\n```sh\n")[1].split("```")[0]
    raw = event()
    (tmp_path / "burst.xml").write_bytes(raw)
    argv = shlex.split(script.replace("comet.example", f"127.0.0.1:{comet.receive_port}"))
    done = bus(tmp_path, *argv[2:])
    assert done.returncode == 0, done.stderr
    wait_until_saved(comet, raw)
