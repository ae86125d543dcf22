"""VOEvents to and from a real Comet."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tesp.errors import BusUnavailable, MessageRefused, SettingsError
from tesp.ingress import vtp, vtp_sender
from tesp.ingress.broadcaster import Broadcaster
from tesp.ingress.intake import Intake
from tesp.ingress.subscriber import Subscriber
from tesp.ingress.voevent import file_name, parsed
from tesp.ingress.voevents import VoeventIngress
from tesp.settings.ingress import RemoteBroker, VoeventSettings
from tests.contract.ingress.conftest import Taker
from tests.contract.ingress.events import event, ivorn
from tests.peers import comet as comets
from tests.peers.comet import Comet
from tests.peers.room import Room, free_port

_MALFORMED = {
    "noise": bytes(range(256)),
    "no-xml": b"hello",
    "bomb": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
    "deep": b"<a>" * 100_000,
}
# What makes of a good event a bad one.
_BREAKAGES = [
    ('version="2.0"', 'version="1.1"'),
    ('role="observation"', 'role="rumour"'),
    ("VOEvent/v2.0", "VOEvent/v1.1"),
    ("voe:VOEvent", "voe:Event"),
    ("</Who>", "</Who><Who/>"),
    ("</Who>", "</Who><Whom/>"),
    ("<Date>", "<Date>noon, "),
    ("</Date>", "</Date><Date>2026-01-02T03:04:05</Date>"),
    ("<What>", "<What><Whatever/>"),
    ('dataType="int"', 'dataType="whole"'),
    ('<Group name="Burst">', '<Group name="Burst"><Group/>'),
    ("ivorn=", "name="),
]


@pytest.fixture(scope="module")
def comet() -> Iterator[Comet]:
    """One for all tests of this module: each has events of its own."""
    with Room.temporary() as room:
        yield Comet.boot(room)


@contextlib.asynccontextmanager
async def running(taker: Taker, home: Path, **keys: Any) -> AsyncIterator[VoeventIngress]:
    settings = VoeventSettings(receive_port=0, broadcast_port=0, **keys)
    ingress = VoeventIngress(settings, "tesp", taker, home / "events.sqlite")
    await ingress.start()
    try:
        yield ingress
    finally:
        await ingress.close()


def remote(port: int, **keys: Any) -> dict[str, Any]:
    return {"remotes": ({"host": "127.0.0.1", "port": port, **keys},)}


def port_of(ingress: VoeventIngress) -> int:
    assert ingress.receiver is not None
    return ingress.receiver.port


def named(taker: Taker) -> list[Any]:
    return [one.message.payload["ivorn"] for one in taker.came]


async def test_an_event_of_comets_sender_becomes_a_message(taker: Taker, tmp_path: Path) -> None:
    raw = event()
    file = tmp_path / "event.xml"
    file.write_bytes(raw)
    async with running(taker, tmp_path, receive=True, directory=tmp_path / "saved") as ingress:
        taken, said = await comets.send(port_of(ingress), file)
        assert taken, said
        await taker.until(lambda: taker.came)
    (one,) = taker.came
    assert one.message.topic == "tesp/voevent/observation/status"
    assert one.message.payload["param.TrigID"] == 1234
    assert one.message.payload["param.Burst.Flux"] == 0.5
    assert one.message.payload["status"] == "finished"
    assert not one.trusted
    assert (tmp_path / "saved" / file_name(ivorn(raw))).read_bytes() == raw


async def test_comets_sender_is_told_of_what_is_no_event(taker: Taker, tmp_path: Path) -> None:
    file = tmp_path / "event.xml"
    file.write_bytes(event(role="nonsense"))
    async with running(taker, tmp_path, receive=True) as ingress:
        taken, said = await comets.send(port_of(ingress), file)
    assert not taken
    assert "nonsense" in said


async def test_what_we_publish_goes_through_comet_to_our_subscriber(
    comet: Comet, taker: Taker, tmp_path: Path
) -> None:
    mine = [event() for _ in range(5)]
    async with running(taker, tmp_path, **remote(comet.broadcast_port, trusted=True)):
        await _until_subscribed(comet, taker)
        for raw in mine:
            await vtp_sender.publish("127.0.0.1", comet.receive_port, raw)
        await taker.until(lambda: set(map(ivorn, mine)) <= set(named(taker)))
    came = [one for one in taker.came if one.message.payload["ivorn"] in map(ivorn, mine)]
    assert [one.message.payload["ivorn"] for one in came] == list(map(ivorn, mine))
    assert all(one.trusted for one in came)
    assert (comet.saved / file_name(ivorn(mine[0]))).exists()


async def _until_subscribed(comet: Comet, taker: Taker) -> None:
    """Publish until one comes back: Comet gives events to those who are there at the time."""

    async def publish() -> None:
        while True:
            await vtp_sender.publish("127.0.0.1", comet.receive_port, event(role="test"))
            await asyncio.sleep(0.2)

    publishing = asyncio.create_task(publish())
    await taker.until(lambda: taker.came)
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)


async def test_a_filter_is_handed_to_comet(comet: Comet, taker: Taker, tmp_path: Path) -> None:
    chosen = "//Param[@name='SNR' and @value>10]"
    weak, strong = (
        event(what=f'<Param name="SNR" value="{value}" dataType="float"/>') for value in (1, 50)
    )
    installed = comet.log.count("Installing filter")
    keys = remote(comet.broadcast_port, filters=(chosen,))
    async with running(taker, tmp_path, **keys):
        await taker.until(lambda: comet.log.count("Installing filter") > installed)
        for raw in (weak, strong):
            await vtp_sender.publish("127.0.0.1", comet.receive_port, raw)
        await taker.until(lambda: taker.came)
    assert named(taker) == [ivorn(strong)]


async def test_we_take_no_event_that_comets_schema_refuses() -> None:
    good = event()
    bad = [good.replace(one.encode(), other.encode()) for one, other in _BREAKAGES]
    also_good = [event(role=role) for role in ("prediction", "utility", "test")]
    judged = await comets.judge([good, *also_good, *bad])
    assert judged == [True] * 4 + [False] * len(bad)
    assert [_is_taken(one) for one in (good, *also_good, *bad)] == judged


def _is_taken(raw: bytes) -> bool:
    try:
        return bool(parsed(raw))
    except MessageRefused:
        return False


async def test_comet_refuses_an_event_twice_and_says_so(comet: Comet) -> None:
    raw = event()
    await vtp_sender.publish("127.0.0.1", comet.receive_port, raw)
    with pytest.raises(MessageRefused, match="refused the event: Event rejected"):
        await vtp_sender.publish("127.0.0.1", comet.receive_port, raw)


async def test_comet_subscribes_to_us(taker: Taker, tmp_path: Path) -> None:
    raw = event()
    async with running(taker, tmp_path, receive=True, broadcast=True) as ingress:
        assert ingress.broadcaster is not None
        with Room.temporary() as room:
            comet = await asyncio.to_thread(Comet.boot, room, ingress.broadcaster.port)
            await taker.until(lambda: "Authenticate received" in comet.log)
            await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
            saved = comet.saved / file_name(ivorn(raw))
            await taker.until(lambda: taker.came and saved.exists() and saved.read_bytes() == raw)
    assert named(taker) == [ivorn(raw)]


async def test_our_subscriber_comes_back_to_a_comet_that_was_away(
    taker: Taker, tmp_path: Path
) -> None:
    with Room.temporary() as room:
        comet = await asyncio.to_thread(Comet.boot, room)
        async with running(taker, tmp_path, **remote(comet.broadcast_port)):
            await _until_subscribed(comet, taker)
            await asyncio.to_thread(comet.stop)
            taker.came.clear()
            await asyncio.to_thread(comet.start)
            await _until_subscribed(comet, taker)


async def test_our_subscriber_gives_up_a_silent_broker_and_connects_anew(
    taker: Taker, tmp_path: Path
) -> None:
    connections = 0

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    intake = Intake(taker, tmp_path / "events.sqlite", "tesp")
    await intake.start()
    broker = RemoteBroker(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    subscriber = Subscriber(VoeventSettings(), broker, intake, silence_seconds=0.2)
    await subscriber.start()
    await taker.until(lambda: connections >= 3)
    await subscriber.close()
    await intake.close()
    server.close()


async def test_our_broadcaster_says_that_it_is_alive_and_lets_go_of_the_silent(
    taker: Taker, tmp_path: Path
) -> None:
    settings = VoeventSettings(broadcast_port=0)
    broadcaster = Broadcaster(settings, alive_seconds=2.0)
    await broadcaster.start()
    intake = Intake(taker, tmp_path / "events.sqlite", "tesp")
    await intake.start()
    broker = RemoteBroker(host="127.0.0.1", port=broadcaster.port)
    subscriber = Subscriber(settings, broker, intake)
    await subscriber.start()
    silent, writer = await asyncio.open_connection("127.0.0.1", broadcaster.port)
    said = [vtp.read(await _frame(silent)) for _ in range(2)]
    assert [one and one.role for one in said] == ["authenticate", "iamalive"]
    await silent.read()
    writer.close()
    # The subscriber answers, and so outlives the silence that ended the other.
    assert broadcaster.count == 1
    broadcaster.broadcast(parsed(event()))
    await taker.until(lambda: taker.came)
    await subscriber.close()
    await broadcaster.close()
    await intake.close()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))


async def test_an_event_that_comes_again_is_taken_once_after_a_restart_too(
    taker: Taker, tmp_path: Path
) -> None:
    raw = event()
    for _ in range(2):
        async with running(taker, tmp_path, receive=True) as ingress:
            await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
            await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
            await taker.until(lambda: taker.came)
    last = event()
    async with running(taker, tmp_path, receive=True) as ingress:
        await vtp_sender.publish("127.0.0.1", port_of(ingress), last)
        await taker.until(lambda: len(taker.came) > 1)
    assert named(taker) == [ivorn(raw), ivorn(last)]


async def test_a_stranger_cannot_take_an_event_away_from_a_trusted_broker(
    comet: Comet, taker: Taker, tmp_path: Path
) -> None:
    raw, next_one = event(), event()
    keys = remote(comet.broadcast_port, trusted=True)
    async with running(taker, tmp_path, receive=True, **keys) as ingress:
        await _until_subscribed(comet, taker)
        await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
        await vtp_sender.publish("127.0.0.1", comet.receive_port, raw)
        await taker.until(lambda: named(taker).count(ivorn(raw)) == 2)
        # The other way round, it is no news.
        await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
        await vtp_sender.publish("127.0.0.1", port_of(ingress), next_one)
        await taker.until(lambda: ivorn(next_one) in named(taker))
    both = [one for one in taker.came if one.message.payload["ivorn"] == ivorn(raw)]
    assert [one.trusted for one in both] == [False, True]
    assert len({one.message.id for one in both}) == 1


async def test_what_nobody_takes_waits_and_survives_a_restart(taker: Taker, tmp_path: Path) -> None:
    events = [event() for _ in range(3)]
    taker.trouble = BusUnavailable("the broker is away")
    async with running(taker, tmp_path, receive=True) as ingress:
        for raw in events[:2]:
            await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
        await taker.until(lambda: taker.tries)
    taker.trouble = None
    async with running(taker, tmp_path, receive=True) as ingress:
        await vtp_sender.publish("127.0.0.1", port_of(ingress), events[2])
        await taker.until(lambda: len(taker.came) == 3)
    assert named(taker) == list(map(ivorn, events))


async def test_a_refused_event_does_not_stop_the_next(taker: Taker, tmp_path: Path) -> None:
    taker.trouble = MessageRefused("never")
    async with running(taker, tmp_path, receive=True) as ingress:
        await vtp_sender.publish("127.0.0.1", port_of(ingress), event())
        await taker.until(lambda: taker.tries == 1)
        taker.trouble = None
        await vtp_sender.publish("127.0.0.1", port_of(ingress), event())
        await taker.until(lambda: taker.came)


async def test_two_events_of_one_name_are_two_files(taker: Taker, tmp_path: Path) -> None:
    name = "ivo://org.example/x/y#1"
    saved = tmp_path / "saved"
    one, two = event(name), event(name, what="")
    async with running(taker, tmp_path, receive=True, directory=saved) as ingress:
        for raw in (one, two):
            await vtp_sender.publish("127.0.0.1", port_of(ingress), raw)
        await taker.until(lambda: len(taker.came) == 2)
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == {
        file_name(ivorn(one)): one,
        f"{file_name(ivorn(one))}_": two,
    }


@pytest.mark.parametrize("body", _MALFORMED.values(), ids=_MALFORMED)
async def test_hostile_bytes_are_refused_and_the_next_event_is_taken(
    taker: Taker, tmp_path: Path, body: bytes
) -> None:
    async with running(taker, tmp_path, receive=True) as ingress:
        said = vtp.read(await _submitted(port_of(ingress), vtp.frame(body)))
        assert said is not None
        assert (said.role, bool(said.result)) == ("nak", True)
        await vtp_sender.publish("127.0.0.1", port_of(ingress), event())
        await taker.until(lambda: taker.came)


async def _submitted(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = await _frame(reader)
    assert await reader.read() == b""
    writer.close()
    return answer


async def test_a_frame_that_is_too_big_is_refused_before_it_is_read(
    taker: Taker, tmp_path: Path
) -> None:
    async with running(taker, tmp_path, receive=True) as ingress:
        said = vtp.read(await _submitted(port_of(ingress), b"\xff\xff\xff\xff"))
        assert said is not None
        assert said.result is not None
        assert "the most is" in said.result


async def test_who_is_of_no_network_that_may_submit_is_turned_away(
    taker: Taker, tmp_path: Path
) -> None:
    async with running(taker, tmp_path, receive=True, authors=("10.0.0.0/8",)) as ingress:
        with pytest.raises(BusUnavailable):
            await vtp_sender.publish("127.0.0.1", port_of(ingress), event())
    assert taker.came == []


async def test_a_broker_that_is_away_is_out_of_reach() -> None:
    with pytest.raises(BusUnavailable, match="cannot be reached"):
        await vtp_sender.publish("127.0.0.1", free_port(), event())


async def test_a_port_that_is_taken_stops_the_start(taker: Taker, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = VoeventSettings(receive=True, receive_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match=r"ingress\.voevent"):
            await VoeventIngress(settings, "tesp", taker, tmp_path / "e.sqlite").start()
