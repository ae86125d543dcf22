"""The runner as a batch system starts it: a file, a directory, and nothing else."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tesp.backends import package
from tesp.runner import identity
from tesp.runner import plan as p
from tesp.runner.plan import Output, Plan
from tesp.runner.report import Report, parse_report
from tests.contract.runner.node import DEADLINE_SECONDS, Node, wait_for

BUSY = "echo go; while :; do sleep 0.1; done"


class JobDirectory:
    """One job's directory, laid out as Pulsar does it, and commands that run there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.workspace = path / "metadata" / "tesp"
        for name in ("working", "metadata"):
            (path / name).mkdir(parents=True)

    def start(self, plan: Plan, **options: object) -> subprocess.Popen[bytes]:
        """Start the job as Pulsar does: with nothing in its environment but PATH."""
        (self.path / "metadata" / "runner.pyz").write_bytes(package.with_plan(plan))
        return self.command("job", "../metadata/tesp", **options)

    def command(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a command of the runner that lies here."""
        argv = [sys.executable, "-I", "-S", "../metadata/runner.pyz", *words]
        environ = {"PATH": os.environ["PATH"], "TMPDIR": str(self.path.parents[1])}
        given: dict[str, object] = {"env": environ, **options}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            argv,
            cwd=self.path / "working",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **given,
        )

    def run(self, plan: Plan, **options: object) -> Report:
        """Run a job to its end; its report."""
        return reported(self.start(plan, **options))

    def tail(self) -> bytes:
        """What the first command has said so far."""
        file = self.workspace / p.TAILS_DIR / "0.stdout"
        return file.read_bytes() if file.exists() else b""

    def has_result(self) -> bool:
        """Whether the runner is through."""
        return (self.workspace / p.RESULT_FILE).exists()


def reported(process: subprocess.Popen[bytes]) -> Report:
    """The report of a command, which says nothing else."""
    out, err = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, err) == (0, b"")
    assert out.startswith(b"tesp-report:")
    assert out.count(b"\n") == 1
    report = parse_report(out.decode("ascii"))
    assert report is not None
    return report


def finished(report: Report) -> p.Result:
    """The result in a report; fails where there is none."""
    assert report.result is not None
    return report.result


@pytest.fixture
def directory(tmp_path: Path) -> JobDirectory:
    """The directory of a job, with others beside it."""
    return JobDirectory(tmp_path / "staging" / "job-1.1")


@pytest.fixture
def other(tmp_path: Path) -> JobDirectory:
    """The directory of another job on the same Pulsar."""
    return JobDirectory(tmp_path / "staging" / "job-2.1")


def ready(directory: JobDirectory) -> JobDirectory:
    """The same, with the one root of a plan made."""
    (directory.workspace / "roots" / "0").mkdir(parents=True)
    return directory


def test_one_file_is_all_that_a_job_needs(node: Node, directory: JobDirectory) -> None:
    plan = node.plan(
        node.shell("echo said; echo bad >&2; echo x > /data/made"), outputs=[Output("/data/made")]
    )
    report = ready(directory).run(plan)
    result = finished(report)
    assert (result.handle, result.status) == (plan.handle, p.FINISHED)
    assert [f.path for f in result.found] == ["/data/made"]
    assert report.tails == {"0.stdout": b"said\n", "0.stderr": b"bad\n"}
    assert report.progress.ended == result.executors
    assert result == p.Result.from_json(
        json.loads((directory.workspace / p.RESULT_FILE).read_text())
    )


def test_a_job_needs_no_environment_at_all(node: Node, directory: JobDirectory) -> None:
    report = ready(directory).run(node.plan(node.shell("true")), env={})
    assert finished(report).status == p.FINISHED


def test_a_plan_in_the_workspace_comes_before_the_packed_one(
    sandbox: Node, directory: JobDirectory
) -> None:
    own = sandbox.plan(sandbox.shell("echo own"))
    (ready(directory).workspace / p.PLAN_FILE).write_text(json.dumps(own.to_json()))
    assert finished(directory.run(sandbox.plan(sandbox.shell("echo packed")))).handle == own.handle


def test_a_plan_that_cannot_be_read_is_reported(sandbox: Node, directory: JobDirectory) -> None:
    (ready(directory).workspace / p.PLAN_FILE).write_text("{")
    result = finished(directory.run(sandbox.plan(sandbox.shell("true"))))
    assert (result.status, result.reason) == (p.FAILED, p.INTERNAL)


def test_a_workspace_that_cannot_be_made_is_reported(
    sandbox: Node, directory: JobDirectory
) -> None:
    directory.workspace.write_text("in the way")
    result = finished(directory.run(sandbox.plan(sandbox.shell("true"))))
    assert (result.status, result.reason) == (p.FAILED, p.INTERNAL)
    assert "metadata/tesp" in str(result.message)


def test_a_job_on_a_full_disk_says_so_on_its_output(sandbox: Node, directory: JobDirectory) -> None:
    directory.workspace.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", directory.workspace], check=True
    )
    try:
        (directory.workspace / "full").write_bytes(bytes(65536 - 4096))
        result = finished(directory.run(sandbox.plan(sandbox.shell("true"))))
        assert (result.status, result.reason) == (p.FAILED, p.DISK_FULL)
    finally:
        subprocess.run(["umount", "-l", directory.workspace], check=True)


def test_it_stays_in_the_session_and_the_group_of_who_started_it(
    sandbox: Node, directory: JobDirectory
) -> None:
    job = ready(directory).start(sandbox.plan(sandbox.shell(BUSY)), start_new_session=True)
    wait_for(directory.tail, "the command")
    fields = Path(f"/proc/{job.pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[1]) == os.getpid()
    assert (int(fields[2]), int(fields[3])) == (job.pid, job.pid)
    claim = json.loads((directory.workspace / p.CLAIM_FILE).read_text())
    assert claim["pid"] == job.pid
    job.terminate()
    assert finished(reported(job)).status == p.CANCELED


@pytest.mark.parametrize("way", ["signal", "file"])
def test_a_job_that_is_told_to_end_reports_and_leaves_nothing(
    node: Node, directory: JobDirectory, way: str
) -> None:
    plan = node.plan(node.shell(BUSY))
    job = ready(directory).start(plan)
    wait_for(directory.tail, "the command")
    if way == "signal":
        job.send_signal(signal.SIGTERM)
    else:
        (directory.workspace / p.CANCEL_FILE).touch()
    assert finished(reported(job)).status == p.CANCELED
    marked = identity.processes_with(identity.HANDLE_VARIABLE)
    assert [one for one in marked if one.value == plan.handle] == []


def test_a_job_that_was_canceled_before_its_start_runs_nothing(
    sandbox: Node, directory: JobDirectory
) -> None:
    (ready(directory).workspace / p.CANCEL_FILE).touch()
    result = finished(directory.run(sandbox.plan(sandbox.shell("touch /data/ran"))))
    assert (result.status, result.executors) == (p.CANCELED, [])
    assert not (directory.workspace / "roots" / "0" / "ran").exists()


def test_a_second_start_waits_for_the_first_and_runs_nothing(
    sandbox: Node, directory: JobDirectory
) -> None:
    plan = sandbox.plan(sandbox.shell("echo go >> /data/ran; cat < /data/gate"))
    os.mkfifo(ready(directory).workspace / "roots" / "0" / "gate")
    first = directory.start(plan)
    wait_for((directory.workspace / "roots" / "0" / "ran").exists, "the command")
    second = directory.start(plan)
    assert finished_none(directory)
    with (directory.workspace / "roots" / "0" / "gate").open("w") as gate:
        gate.write("open")
    assert reported(first).result == reported(second).result
    assert (directory.workspace / "roots" / "0" / "ran").read_text() == "go\n"


def finished_none(directory: JobDirectory) -> bool:
    """Whether a control command of the runner reports that no result is there."""
    report = reported(directory.command("report", "../metadata/tesp"))
    return report.result is None and report.progress.running == 0 and report.heartbeat is not None


def test_another_job_reports_what_it_sees(
    sandbox: Node, directory: JobDirectory, other: JobDirectory
) -> None:
    job = ready(directory).start(sandbox.plan(sandbox.shell(BUSY)))
    wait_for(directory.tail, "the command")
    (other.path / "metadata" / "runner.pyz").write_bytes(package.packed())
    place = f"../../{directory.path.name}/metadata/tesp"
    running = reported(other.command("report", place))
    assert (running.result, running.progress.running) == (None, 0)
    assert running.tails["0.stdout"] == b"go\n"
    assert other.command("remove", place).wait(DEADLINE_SECONDS) == 0
    ended = reported(job)
    assert finished(ended).status == p.CANCELED
    assert reported(other.command("report", place)) == ended
    assert reported(other.command("report", "../../nothing/metadata/tesp")) == Report()


def test_discard_ends_a_job_and_removes_its_directory(
    node: Node, directory: JobDirectory, other: JobDirectory
) -> None:
    plan = node.plan(node.shell(f"mkdir /data/d; touch /data/d/x; chmod 0 /data/d; {BUSY}"))
    job = ready(directory).start(plan)
    wait_for(directory.tail, "the command")
    (other.path / "metadata" / "runner.pyz").write_bytes(package.packed())
    command = other.command("discard", f"../../{directory.path.name}", "../../nothing")
    assert command.wait(DEADLINE_SECONDS) == 0
    assert job.wait(DEADLINE_SECONDS) == 0
    assert not directory.path.exists()
    assert other.path.exists()


def elsewhere(directory: JobDirectory) -> None:
    """Make the claim of a job that of a machine which cannot be seen from here."""
    file = directory.workspace / p.CLAIM_FILE
    claim = json.loads(file.read_text())
    file.write_text(json.dumps({**claim, "boot": "another", "host": "another"}))


def test_a_runner_on_another_node_is_told_by_a_file_and_waited_for(
    sandbox: Node, directory: JobDirectory, other: JobDirectory
) -> None:
    job = ready(directory).start(sandbox.plan(sandbox.shell(BUSY)))
    wait_for(directory.tail, "the command")
    elsewhere(directory)
    (other.path / "metadata" / "runner.pyz").write_bytes(package.packed())
    place = f"../../{directory.path.name}/metadata/tesp"
    assert other.command("remove", place).wait(DEADLINE_SECONDS) == 0
    assert directory.has_result()
    assert finished(reported(job)).status == p.CANCELED


def test_a_runner_on_another_node_that_is_silent_is_not_waited_for(
    sandbox: Node, directory: JobDirectory, other: JobDirectory
) -> None:
    plan = sandbox.plan(sandbox.shell(BUSY), heartbeat_seconds=0.05)
    job = ready(directory).start(plan)
    wait_for(directory.tail, "the command")
    elsewhere(directory)
    job.kill()
    job.wait()
    (other.path / "metadata" / "runner.pyz").write_bytes(package.packed())
    command = other.command("discard", f"../../{directory.path.name}")
    assert command.wait(DEADLINE_SECONDS) == 0
    assert not directory.path.exists()


@pytest.mark.parametrize("place", ["..", "../..", "."])
def test_discard_never_takes_the_directory_that_it_runs_in(other: JobDirectory, place: str) -> None:
    (other.path / "metadata" / "runner.pyz").write_bytes(package.packed())
    command = other.command("discard", place)
    assert b"stays" in command.communicate(timeout=DEADLINE_SECONDS)[1]
    assert command.returncode == 1
    assert other.path.exists()


def ended(other: JobDirectory, days: float) -> JobDirectory:
    """The same, as a job left it that ended so many days ago."""
    other.workspace.mkdir()
    file = other.workspace / p.RESULT_FILE
    file.write_text("{}")
    os.utime(file, (time.time() - days * 86400,) * 2)
    return other


def test_a_job_removes_the_directories_of_jobs_that_ended_long_ago(
    sandbox: Node, directory: JobDirectory, tmp_path: Path
) -> None:
    staging = tmp_path / "staging"
    old = ended(JobDirectory(staging / "old"), 7.1)
    young = ended(JobDirectory(staging / "young"), 6.9)
    running = JobDirectory(staging / "running")
    ready(directory).run(sandbox.plan(sandbox.shell("true")))
    wait_for(lambda: not old.path.exists(), "the sweep")
    later = ready(JobDirectory(staging / "later"))
    (stamp,) = tmp_path.glob("tesp-*/swept.jobs*")
    swept = stamp.stat().st_mtime_ns
    later.run(sandbox.plan(sandbox.shell("true")))
    assert stamp.stat().st_mtime_ns == swept
    assert all(d.path.exists() for d in (young, running, directory, later))
