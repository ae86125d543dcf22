"""The spool: order, torn lines, processes that are killed, many at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tesp.bus import Message
from tesp.bus.memory import MemoryBus
from tesp.bus.sender import Sender, Sent
from tesp.bus.spool import Spool
from tesp.errors import BusError, BusRefused, BusUnavailable, MessageRefused

_ROOT = Path(__file__).parents[3]


class Broker:
    """Scripted: takes messages, is away for so many tries, or refuses some topics."""

    name = "scripted"

    def __init__(self, away: int = 0, refused: Sequence[str] = ()) -> None:
        self.away, self.refused = away, refused
        self.taken: list[str] = []
        self.tries = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        self.tries += 1
        if self.away:
            self.away -= 1
            raise BusUnavailable("away")
        for message in messages:
            if message.topic in self.refused:
                raise MessageRefused("not here")
            self.taken.append(message.id)

    subscribe = MemoryBus.subscribe

    async def close(self) -> None:
        pass


def messages(*ids: str, topic: str = "a") -> list[Message]:
    return [Message(topic, {"ts": 1}, one, 1.0, "c", headers={"x": 1}) for one in ids]


def waiting(spool: Spool) -> list[str]:
    """What the spool holds; it stays there."""
    with spool.sending() as sending:
        assert sending is not None
        batch = sending.oldest(10**9)
        return [message.id for message in batch.messages] if batch else []


async def test_what_a_broker_takes_never_sees_the_spool(tmp_path: Path) -> None:
    broker, spool = Broker(away=2), Spool(tmp_path)
    assert await Sender(broker, spool).send(messages("1")) is Sent.CONFIRMED
    assert (broker.taken, broker.tries, spool.count()) == (["1"], 3, 0)


async def test_after_three_tries_messages_wait_and_the_next_go_behind_them(
    tmp_path: Path,
) -> None:
    broker, spool = Broker(away=3), Spool(tmp_path)
    sender = Sender(broker, spool)
    assert await sender.send(messages("1", "2")) is Sent.SPOOLED
    assert (broker.tries, spool.count()) == (3, 2)
    broker.away = 3
    assert await sender.send(messages("3")) is Sent.SPOOLED
    assert (broker.taken, spool.count()) == ([], 3)
    assert await sender.send(messages("4")) is Sent.CONFIRMED
    assert (broker.taken, spool.count()) == (["1", "2", "3", "4"], 0)


async def test_messages_come_out_of_the_spool_whole(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = Message(
        "a/é", {"x": 1.5, "y": None, "z": "\n"}, "i", 1.25, "c", 4, "k", "0000", {"h": 1}
    )
    spool.append([kept])
    with spool.sending() as sending:
        assert sending is not None
        batch = sending.oldest(5)
    assert batch is not None
    assert batch.messages == [kept]


async def test_nobody_sends_while_another_does_and_what_he_appends_is_sent_too(
    tmp_path: Path,
) -> None:
    spool, broker = Spool(tmp_path), Broker()
    spool.append(messages("1"))
    with spool.sending() as first:
        assert first is not None
        batch = first.oldest(10)
        assert batch is not None
        assert await Sender(broker, Spool(tmp_path)).send(messages("2")) is Sent.SPOOLED
        first.sent(batch)
        rest = first.oldest(10)
        assert rest is not None
        assert [message.id for message in rest.messages] == ["2"]
        first.sent(rest)
        assert first.oldest(10) is None
        # The right is given back with the last look, not later.
        assert await Sender(broker, Spool(tmp_path)).send(messages("3")) is Sent.CONFIRMED
    assert broker.taken == ["3"]


async def test_a_message_that_no_broker_takes_is_put_aside_and_stops_no_other(
    tmp_path: Path,
) -> None:
    spool, broker = Spool(tmp_path), Broker(refused=["secret"])
    spool.append([*messages("1"), *messages("2", topic="secret"), *messages("3")])
    assert await Sender(broker, spool).flush() is Sent.CONFIRMED
    assert list(dict.fromkeys(broker.taken)) == ["1", "3"]
    aside = (tmp_path / "refused").read_text()
    assert '"id":"2"' in aside
    assert "not here" in aside


async def test_what_is_no_message_is_refused_and_not_kept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(BusRefused):
        await Sender(Broker(away=9), spool).send(messages("1", topic="a/#"))
    assert spool.count() == 0


@pytest.mark.parametrize("torn", [b"0", b"0badc0de {", b"\xff\xfe" * 70_000])
def test_a_line_that_is_torn_is_cut_off_and_all_others_stay(tmp_path: Path, torn: bytes) -> None:
    spool = Spool(tmp_path)
    spool.append(messages("1", "2"))
    with (tmp_path / "messages").open("ab") as file:
        file.write(torn)
    assert spool.count() == 2
    spool.append(messages("3"))
    assert waiting(spool) == ["1", "2", "3"]


def test_a_line_that_went_bad_is_left_out_and_all_others_stay(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(messages("1"))
    with (tmp_path / "messages").open("ab") as file:
        file.write(b'00000000 {"id":"forged"}\n\0\0\0\n')
    spool.append(messages("2"))
    assert waiting(spool) == ["1", "2"]


def test_a_sender_that_was_killed_between_emptying_and_saying_so_hides_nothing(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    spool.append(messages("1", "2"))
    size = (tmp_path / "messages").stat().st_size
    (tmp_path / "offset").write_text(str(size))
    os.truncate(tmp_path / "messages", 0)
    spool.append(messages("3", "4", "5"))
    assert waiting(spool) == ["3", "4", "5"]


def test_a_spool_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BusError, match="is of no use"):
        Spool(tmp_path / "file" / "spool").append(messages("1"))


def test_nobody_else_may_read_the_spool(tmp_path: Path) -> None:
    Spool(tmp_path / "spool").append(messages("1"))
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert (tmp_path / "spool" / "messages").stat().st_mode & 0o077 == 0


_APPENDS = """
import sys
from pathlib import Path
from tesp.bus import Message
from tesp.bus.spool import Spool
spool, name, count = Spool(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
for number in range(count):
    ids = [f"{name}-{number}-{part}" for part in "abc"]
    spool.append([Message("a", {"text": "x" * 2000}, one, 1.0, "c") for one in ids])
    print("\\n".join(ids), flush=True)
"""


def appending(directory: Path, name: str, count: int) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-c", _APPENDS, str(directory), name, str(count)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=_ROOT)


def test_what_was_kept_survives_that_its_writer_is_killed_at_any_moment(tmp_path: Path) -> None:
    promised: list[str] = []
    for round_ in range(4):
        with appending(tmp_path, f"r{round_}", 10_000) as process:
            assert process.stdout
            for _ in range(1 + 7 * round_):
                promised.append(process.stdout.readline().strip())
            os.kill(process.pid, signal.SIGKILL)
            promised += [line.strip() for line in process.stdout if line.endswith("\n")]
    kept = waiting(Spool(tmp_path))
    assert len(set(kept)) == len(kept)
    assert [one for one in kept if one in set(promised)] == promised


def test_processes_that_write_at_once_keep_all_and_each_its_order(tmp_path: Path) -> None:
    writers = [appending(tmp_path, f"w{number}", 20) for number in range(4)]
    promised = [writer.communicate(timeout=120)[0].split() for writer in writers]
    kept = waiting(Spool(tmp_path))
    assert len(kept) == 4 * 20 * 3
    for ids in promised:
        mine = set(ids)
        assert [one for one in kept if one in mine] == ids
