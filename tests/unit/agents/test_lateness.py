"""No task is told of as late that has ended, however late it is told that it has."""

import math
import sqlite3
from collections.abc import Iterator

import pytest

from tesp.agents.metrics import records
from tesp.agents.metrics.hearing import Hearing
from tesp.agents.metrics.lateness import Supervision
from tesp.agents.metrics.samples import Sample
from tesp.bus import Message
from tesp.bus.prodiguer import Producer

GRACE = 4.0
LATE = 100.0
SUPERVISION = Supervision("p", Producer("tesp", "tesp", "1"), LATE)


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    with sqlite3.connect(":memory:") as opened:
        opened.executescript(f"CREATE TABLE outbox (message BLOB);{records.SCHEMA}")
        yield opened
    opened.close()


def event(state: str, time: float) -> Message:
    topic = "p/infrastructure/pipelines/n/status"
    return Message(topic, {"task": "t", "state": state, "name": "n"}, "id", time, "c")


def beat(hearing: Hearing, said: float) -> Message:
    made = hearing.beat()
    return Message(made.topic, made.payload, made.id, said, made.correlation)


def heard(hearing: Hearing, first: float, last: float, later: float = 0.0) -> None:
    """A beat each second; each comes so much later."""
    for second in range(int(first), int(last) + 1):
        assert hearing.is_beat(beat(hearing, second), second + later)


def test_what_is_known_ends_with_our_last_beat_but_for_the_grace_of_others() -> None:
    hearing = Hearing("p", "c", 2.0)
    assert hearing.sure_until(0.0, GRACE) == -math.inf
    heard(hearing, 10, 13)
    assert hearing.sure_until(13.5, GRACE) == -math.inf
    heard(hearing, 14, 20, later=0.5)
    assert hearing.sure_until(20.9, GRACE) == 16


def test_while_nothing_is_heard_and_some_time_after_nothing_more_is_known() -> None:
    hearing = Hearing("p", "c", 2.0)
    heard(hearing, 10, 20)
    assert hearing.sure_until(22.0, GRACE) == 16
    assert hearing.sure_until(22.1, GRACE) == -math.inf
    # The broker is back, and keeps what came meanwhile; who sends it may come back later.
    heard(hearing, 50, 53)
    assert hearing.sure_until(53.9, GRACE) == -math.inf
    heard(hearing, 54, 54)
    assert hearing.sure_until(54.0, GRACE) == 50


def test_news_of_long_ago_put_off_what_is_known() -> None:
    hearing = Hearing("p", "c", 2.0)
    heard(hearing, 10, 20)
    hearing.begin_anew(20.5)
    heard(hearing, 21, 24)
    assert hearing.sure_until(24.4, GRACE) == -math.inf
    assert hearing.sure_until(24.5, GRACE) == 20


def test_a_beat_of_a_clock_that_is_ahead_is_of_when_it_came() -> None:
    hearing = Hearing("p", "c", 2.0)
    heard(hearing, 10, 14)
    hearing.is_beat(beat(hearing, 1000.0), 15.0)
    assert hearing.sure_until(15.0, GRACE) == 11


def test_a_task_is_late_by_what_is_known_and_is_told_of_once(db: sqlite3.Connection) -> None:
    SUPERVISION.hear(db, event("RUNNING", 1000.0), 1001.0)
    assert SUPERVISION.tell(db, -math.inf, 2000.0) == 0
    assert SUPERVISION.tell(db, 1100.0, 2000.0) == 0
    assert SUPERVISION.tell(db, 1101.0, 2000.0) == 1
    assert SUPERVISION.tell(db, 1102.0, 2000.0) == 0
    assert db.execute("SELECT COUNT(*) FROM outbox").fetchone() == (1,)


def test_only_the_beginning_of_a_task_tells_that_it_is_late_already() -> None:
    assert SUPERVISION.is_late(event("RUNNING", 1000.0), 1101.0)
    assert not SUPERVISION.is_late(event("RUNNING", 1000.0), 1099.0)
    assert not SUPERVISION.is_late(event("COMPLETE", 1000.0), 1101.0)


@pytest.mark.parametrize("time", [90.0, 100.0, 110.0])
def test_a_node_that_ended_is_not_expected_whatever_its_clock_says(
    db: sqlite3.Connection, time: float
) -> None:
    def keep(at: float, now: float, *, is_last: bool = False) -> None:
        records.keep(db, Sample("n1", at, {"cpus": 1.0}, "id", "c", 0, is_last), now)

    keep(100.0, 100.0)
    keep(time, 101.0, is_last=True)
    assert records.silent(db, "silent", 10_000.0) == []
    keep(95.0, 102.0)
    assert records.silent(db, "silent", 10_000.0) == [("n1", 102.0)]
