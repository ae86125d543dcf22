"""Control jobs: their command lines, run by a real shell beside directories of jobs."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from tesp.backends import package
from tesp.backends.pulsar import control_lines
from tesp.runner.plan import Executor, Mount, Plan, Runtime


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The directory of a control job, as its Pulsar makes it."""
    for name in ("working", "metadata"):
        (tmp_path / "control" / name).mkdir(parents=True)
    return tmp_path / "control"


def run(here: Path, line: str) -> str:
    done = subprocess.run(
        ["bash", "-c", line], cwd=here / "working", env={}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ran(here: Path, job_id: str, script: str) -> Path:
    """A job that has run."""
    executor = Executor("none", ["bash", "-c", script])
    plan = Plan("t", "t-1", Runtime("sandbox", "bwrap"), [executor], [Mount("roots/0", "/o", True)])
    job = here.parent / job_id
    (job / "metadata").mkdir(parents=True)
    archive = job / "metadata" / "runner.pyz"
    archive.write_bytes(package.with_plan(plan._replace(directories=["roots/0"], publish=True)))
    argv = [sys.executable, "-I", "-S", archive, "job", job / "metadata" / "tesp"]
    subprocess.run(argv, check=True, capture_output=True)
    return job


def test_a_look_tells_of_a_job_that_ran(here: Path) -> None:
    job = ran(here, "j-1.1", "echo out; exit 3")
    (job / "metadata" / "send_url").write_text("http://h/out?key=k")
    look = control_lines.look_in(run(here, control_lines.look_line(sys.executable, "j-1.1")))
    assert look is not None
    assert look.there
    assert look.send_url == "http://h/out?key=k"
    assert look.report is not None
    assert look.report.result is not None
    assert look.report.result.executors[0].exit_code == 3


def test_a_look_tells_why_pulsar_did_not_start_a_job(here: Path) -> None:
    job = here.parent / "j-1.1"
    job.mkdir()
    (job / "stderr").write_text("404 for\nurl")
    look = control_lines.look_in(run(here, control_lines.look_line(sys.executable, "j-1.1")))
    assert look == control_lines.Look(there=True, words="404 for url")


def test_a_look_tells_of_what_is_not_there(here: Path) -> None:
    look = control_lines.look_in(run(here, control_lines.look_line(sys.executable, "j-1.1")))
    assert look == control_lines.Look(there=False)


@pytest.mark.parametrize("printed", ["", "bash: fork: no memory", "tesp-ther"])
def test_what_is_no_look_tells_nothing(printed: str) -> None:
    assert control_lines.look_in(printed) is None


def test_words_that_are_cut_off_are_none() -> None:
    look = control_lines.look_in("tesp-there\ntesp-words:QUJ\n")
    assert look == control_lines.Look(there=True)
    whole = base64.b64encode(b"ABC").decode()
    look = control_lines.look_in(f"tesp-there\ntesp-words:{whole}\n")
    assert look == control_lines.Look(there=True, words="ABC")


def test_jobs_are_discarded_whether_they_ran_or_not(here: Path) -> None:
    ran(here, "j-1.1", "true")
    (here.parent / "j-2.1" / "metadata").mkdir(parents=True)
    ran(here, "j-3.1", "true")
    line = control_lines.discard_line(sys.executable, ["j-2.1", "j-1.1", "gone"])
    assert control_lines.left_in(run(here, line)) == []
    assert {p.name for p in here.parent.iterdir()} == {"control", "j-3.1"}


def test_what_cannot_be_discarded_is_told(here: Path) -> None:
    ran(here, "j-1.1", "true")
    (here.parent / "elsewhere").mkdir()
    (here.parent / "j-2.1").symlink_to("elsewhere")
    line = control_lines.discard_line(sys.executable, ["j-1.1", "j-2.1"])
    done = subprocess.run(
        ["bash", "-c", line], cwd=here / "working", capture_output=True, text=True
    )
    assert control_lines.left_in(done.stdout) == ["j-2.1"]
    assert (here.parent / "elsewhere").exists()


def test_published_outputs_are_taken_over_as_often_as_asked(here: Path) -> None:
    job = ran(here, "j-1.1", "true")
    file = job / "metadata/tesp/published/0/2/below/a b"
    file.parent.mkdir(parents=True)
    file.write_text("hi")
    for _ in range(2):
        assert control_lines.collected(run(here, control_lines.collect_line("j-1.1")))
    taken = here / "metadata/tesp/published/0/2/below/a b"
    assert (taken.read_text(), file.read_text()) == ("hi", "hi")


def test_outputs_that_are_not_there_are_not_collected(here: Path) -> None:
    line = control_lines.collect_line("j-1.1")
    done = subprocess.run(
        ["bash", "-c", line], cwd=here / "working", capture_output=True, text=True
    )
    assert not control_lines.collected(done.stdout)


def test_a_job_that_waits_is_told_not_to_start(here: Path) -> None:
    (here.parent / "j-1.1").mkdir()
    for job_id in ("j-1.1", "gone"):
        run(here, control_lines.end_line(sys.executable, job_id, waits=True))
    assert (here.parent / "j-1.1/cancelled").read_text() == "true\n"
    assert (here.parent / "j-1.1/metadata/tesp/cancel").exists()
    assert not (here.parent / "gone").exists()


def test_a_job_that_waits_for_its_inputs_is_forbidden(here: Path) -> None:
    job = here.parent / "j-1.1"
    job.mkdir()
    assert control_lines.forbidden(run(here, control_lines.forbid_line("j-1.1"))) is True
    assert (job / "cancelled").read_text() == "true\n"
    assert (job / "metadata/tesp/cancel").exists()


def test_a_job_that_pulsar_is_just_starting_is_not_marked_as_canceled(here: Path) -> None:
    job = here.parent / "j-1.1"
    job.mkdir()
    (job / "command.sh").touch()
    assert control_lines.forbidden(run(here, control_lines.forbid_line("j-1.1"))) is False
    assert not (job / "cancelled").exists()
    assert (job / "metadata/tesp/cancel").exists()


def test_a_forbidding_that_told_nothing_is_none() -> None:
    assert control_lines.forbidden("bash: no such file\n") is None
