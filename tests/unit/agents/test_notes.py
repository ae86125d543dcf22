"""What notes say: short, in one line, whatever others call their tasks."""

from typing import Any

import pytest

from tesp.agents.notifications.allowance import Allowance
from tesp.agents.notifications.sms_text import fitting
from tesp.agents.notifications.writing import Digest, Writing, one_line
from tesp.events import Event
from tesp.tes.states import State


def event(number: int = 1, state: State = State.SYSTEM_ERROR, **more: Any) -> Event:
    more = {"name": f"task {number}", "reason": "the disk is full", **more}
    return Event(f"id-{number}", 3, state, 1_700_000_000.0 + number, "ann", 1, **more)


def digest(*events: Event) -> Digest:
    made = Digest(events[0], events[0])
    for one in events:
        made.add(one)
    return made


def test_a_note_has_what_there_is_and_nothing_else() -> None:
    note = Writing().note(event())
    assert note.subject == "tesp: SYSTEM_ERROR: task 1"
    assert note.text.splitlines() == [
        "Task: id-1",
        "Name: task 1",
        "State: SYSTEM_ERROR",
        "Reason: the disk is full",
        "When: 2023-11-14 22:13:21 UTC",
        "Owner: ann",
    ]
    assert note.short == "tesp: SYSTEM_ERROR: task 1 (id-1): the disk is full"
    nameless = Writing().note(event(name=None, reason=None))
    assert nameless.subject == "tesp: SYSTEM_ERROR: id-1"
    assert nameless.short == "tesp: SYSTEM_ERROR: (id-1)"


def test_a_name_stays_within_its_line_and_its_length() -> None:
    assert one_line("a\r\nBcc: b\t\u2028c\u202e\x00 d", 80) == "a Bcc: b c d"
    assert one_line("x" * 100, 10) == "xxxxxxx..."
    assert one_line("\ud800" * 3, 10) == ""
    note = Writing().note(event(name="\n" * 100 + "Subject: x", reason="a\n\nb"))
    assert "\n" not in note.subject + note.short
    assert note.text.count("\n") == 6


def test_a_summary_counts_and_names_the_first() -> None:
    events = [event(n, State.PREEMPTED if n % 3 else State.SYSTEM_ERROR) for n in range(3000)]
    note = Writing("https://tes.example").summary(digest(*events))
    assert note.subject == "tesp: 2000 PREEMPTED, 1000 SYSTEM_ERROR"
    assert note.text.startswith("3000 changes of tasks, from 2023-11-14 22:13:20 UTC to ")
    assert "2023-11-14 22:13:21 UTC  PREEMPTED  id-1  task 1\n" in note.text
    assert "and 2980 more\n" in note.text
    assert note.text.endswith("See: https://tes.example/ga4gh/tes/v1/tasks\n")
    assert len(note.text) < 4000


def test_a_summary_is_known_by_what_it_sums_up_and_one_event_is_told_as_it_is() -> None:
    one, two, three = (Writing().summary(digest(*map(event, range(n)))) for n in (1, 2, 3))
    assert one == Writing().note(event(0))
    assert len({one.id, two.id, three.id}) == 3
    assert two.id == Writing().summary(digest(event(0), event(1))).id


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a" * 160, "a" * 160),
        ("a" * 161, "a" * 157 + "..."),
        ("€" * 80, "€" * 80),
        ("€" * 81, "€" * 78 + "..."),
        ("ě" * 70, "ě" * 70),
        ("ě" * 71, "ě" * 67 + "..."),
        ("😀" * 36, "😀" * 33 + "..."),
        ("é" * 160, "é" * 160),
    ],
)
def test_a_text_is_cut_to_what_one_sms_holds(text: str, held: str) -> None:
    assert fitting(text) == held


def test_an_allowance_is_given_back_as_time_goes_by() -> None:
    allowance = Allowance(2, 60.0)
    for now in (0.0, 10.0):
        assert allowance.wait_seconds(now) == 0
        allowance.take(now)
    assert allowance.wait_seconds(20.0) == 40.0
    assert allowance.wait_seconds(60.0) == 0
    allowance.take(60.0)
    assert allowance.wait_seconds(61.0) == 9.0
