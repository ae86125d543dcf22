"""The report of a job: one line that survives whatever is around it."""

import os
from pathlib import Path

from tesp.runner import plan as p
from tesp.runner.plan import ExecutorResult, Found, Progress, Result
from tesp.runner.report import MOST_CHARACTERS, PREFIX, Report, look, parse_report, report_line

RESULT = Result(
    "t-1",
    p.FINISHED,
    [ExecutorResult(1.0, 2.0, 3)],
    [Found(0, "/data/pé\udcff", "roots/0/x", 7, "deep/x\n")],
    sent=[0],
)


def files(count: int) -> list[Found]:
    """Names that do not compress."""
    names = [os.urandom(32).hex() for _ in range(count)]
    return [Found(0, f"/data/{n}", f"roots/0/{n}", 1, n) for n in names]


def test_a_report_comes_back_as_it_was() -> None:
    report = Report(RESULT, Progress([], 1, 5.0), 12.5, {"0.stdout": bytes(range(256))})
    line = report_line(report)
    assert line.isascii()
    assert line.startswith(PREFIX)
    assert "\n" not in line
    assert parse_report(line) == report


def test_it_is_found_among_other_words_and_the_last_one_counts() -> None:
    old, new = report_line(Report()), report_line(Report(RESULT))
    seen = parse_report(f"module load\n{old}\nnoise {new}\nslurmstepd: é")
    assert seen == Report(RESULT)


def test_a_line_that_was_cut_off_is_none() -> None:
    line = report_line(Report(RESULT))
    assert parse_report("") is None
    assert all(parse_report(line[:length]) is None for length in range(0, len(line) - 4, 7))
    assert parse_report(PREFIX + "aGVsbG8=") is None


def test_tails_give_way_before_the_result_does() -> None:
    tails = {f"{i}.stdout": os.urandom(65536) for i in range(20)}
    line = report_line(Report(RESULT, tails=tails))
    seen = parse_report(line)
    assert len(line) <= MOST_CHARACTERS
    assert seen is not None
    assert seen.result == RESULT
    assert {n: tails[n].endswith(t) and len(t) for n, t in seen.tails.items()} == dict.fromkeys(
        tails, 16384
    )


def test_more_outputs_than_a_report_can_list_fail_the_task_with_a_sentence() -> None:
    result = RESULT._replace(found=files(20_000), warnings=["w" * 100] * 5000)
    line = report_line(Report(result, tails={"0.stdout": b"x"}))
    seen = parse_report(line)
    assert len(line) <= MOST_CHARACTERS
    assert seen is not None
    assert seen.result is not None
    assert (seen.result.status, seen.result.reason) == (p.FAILED, p.TOO_MANY_OUTPUTS)
    assert "20000 output files" in str(seen.result.message)
    assert seen.result.executors == RESULT.executors


def test_what_failed_before_keeps_its_own_reason() -> None:
    result = RESULT._replace(status=p.TIME_LIMIT, message="late", found=files(20_000))
    seen = parse_report(report_line(Report(result)))
    assert seen is not None
    assert seen.result is not None
    assert (seen.result.status, seen.result.message) == (p.TIME_LIMIT, "late")
    assert "20000 output files" in seen.result.warnings[-1]


def test_an_empty_workspace_reports_nothing(tmp_path: Path) -> None:
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        assert look() == Report()
    finally:
        os.chdir(before)
