"""What an attempt's end means for its task."""

import pytest

from tesp.dispatch.report import (
    Outcome,
    Report,
    live_tails,
    missing_outputs,
    outcome_of,
    text_of,
)
from tesp.runner import plan
from tesp.tes.states import Transition

GOOD = plan.Executor("i", ["x"])
LENIENT = plan.Executor("i", ["x"], ignore_error=True)


def result(*codes: int, status: str = plan.FINISHED, **fields: object) -> plan.Result:
    ended = [plan.ExecutorResult(1.0, 2.0, code) for code in codes]
    return plan.Result("t-1", status, ended, **fields)  # type: ignore[arg-type]


def test_all_zero_is_complete() -> None:
    assert outcome_of(result(0, 0), [GOOD, GOOD]).transition is Transition.COMPLETE


def test_a_failing_executor_is_an_executor_error_that_names_it() -> None:
    outcome = outcome_of(result(0, 3), [GOOD, GOOD])
    assert outcome.transition is Transition.EXECUTOR_FAILED
    assert "executors[1]" in str(outcome.sentence)
    assert "3" in str(outcome.sentence)


def test_an_ignored_error_ends_complete() -> None:
    assert outcome_of(result(3, 0), [LENIENT, GOOD]).transition is Transition.COMPLETE


def test_the_time_limit_is_an_executor_error() -> None:
    outcome = outcome_of(result(status=plan.TIME_LIMIT), [GOOD])
    assert outcome.transition is Transition.EXECUTOR_FAILED
    assert "time limit" in str(outcome.sentence)


@pytest.mark.parametrize(
    "reason", [plan.IMAGE_MISSING, plan.IMAGE_REFUSED, plan.RUNTIME_MISSING, plan.OUTPUT_REFUSED]
)
def test_a_failure_of_the_machine_says_what_and_how_to_mend_it(reason: str) -> None:
    outcome = outcome_of(result(status=plan.FAILED, reason=reason, message="It broke."), [GOOD])
    assert outcome.transition is Transition.SYSTEM_FAILED
    assert str(outcome.sentence).startswith("It broke. ")
    assert len(str(outcome.sentence)) > len("It broke. ")


def test_a_missing_output_spoils_success_but_hides_no_executor_error() -> None:
    outputs = [plan.Output("/o/a"), plan.Output("/o/b")]
    ended = result(0, types=["FILE", None])
    spoiled = missing_outputs(Outcome(Transition.COMPLETE), outputs, ended)
    assert spoiled.transition is Transition.SYSTEM_FAILED
    assert "/o/b" in str(spoiled.sentence)
    assert "/o/a" not in str(spoiled.sentence)
    failed = Outcome(Transition.EXECUTOR_FAILED, "no")
    assert missing_outputs(failed, outputs, ended) == failed


def test_a_wildcard_that_matches_nothing_is_no_failure() -> None:
    outputs = [plan.Output("/o/*", "/o", None, True)]
    ended = result(0, types=[None])
    complete = Outcome(Transition.COMPLETE)
    assert missing_outputs(complete, outputs, ended) == complete


@pytest.mark.parametrize(
    ("tail", "text"),
    [
        (b"plain\\n", "plain\\n"),
        ("grün".encode(), "grün"),
        ("ü".encode()[1:] + b"x", "\\xbcx"),
        ("ü".encode()[1:] + b"x" * 65535, "x" * 65535),
        (b"a\xff\\b", "a\\xff\\\\b"),
        (b"\x00", "\x00"),
        (b"", ""),
    ],
)
def test_a_tail_becomes_text_without_loss(tail: bytes, text: str) -> None:
    assert text_of(tail) == text


def test_noise_can_be_undone_and_is_marked() -> None:
    noise = bytes(range(256)) + b"\\x41"
    text = text_of(noise)
    undone = text.encode().decode("unicode_escape").encode("latin-1")
    assert undone == noise
    report = Report("now", {}).ran(result(0).executors, {"0.stdout": noise})
    assert report.metadata["executor.0.stdout.encoding"] == "backslash"


def test_live_tails_are_those_of_the_executor_that_runs() -> None:
    tails = {"0.stdout": b"old", "1.stdout": b"new", "1.stderr": b""}
    assert live_tails(1, tails) == {"executor.1.stdout": "new"}
    assert live_tails(None, tails) == {}


def test_a_live_tail_waits_for_the_rest_of_a_character() -> None:
    half = b"x" + "€".encode()[:2]
    assert live_tails(0, {"0.stdout": half}) == {"executor.0.stdout": "x"}
    assert live_tails(0, {"0.stdout": "x€".encode()}) == {"executor.0.stdout": "x€"}


def test_measures_of_an_executor_go_to_the_metadata() -> None:
    ended = [plan.ExecutorResult(1.0, 2.0, 0, 1024, 0.5)]
    log = Report("now", {}).ran(ended, {}).log()
    assert log.metadata == {
        "executor.0.peak_memory_bytes": "1024",
        "executor.0.cpu_seconds": "0.500",
    }


def test_an_outcome_survives_its_text() -> None:
    outcome = Outcome(Transition.RETRY, 'a "sentence"')
    assert Outcome.from_json(outcome.to_json()) == outcome
