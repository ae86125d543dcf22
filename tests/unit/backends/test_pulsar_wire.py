"""Pulsar's own messages, as 0.16.0 sent them, and what is said to it."""

import json
import shlex

import pytest

from tesp.backends.pulsar import command, wire
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendRefused
from tesp.runner.plan import Limits
from tesp.runner.report import Report, report_line
from tesp.settings import PulsarSettings
from tesp.tes.models import Resources
from tesp.tes.needs import Needs
from tesp.tes.rules import needs_of

RUNNING = b'{"complete": "false", "status": "running", "job_id": "task-1.1"}'
COMPLETE = b"""{"job_id": "task-1.1", "complete": "true", "status": "complete", "returncode": 0,
"stdout": "", "stderr": "", "job_stdout":
"tesp-report:eJzVUcFOwzAM/ZUpZ6jaJV03fmAH7lwQqrLGXaO1SRUnsGnqv2N3G0MCceeW52fH7/mdRQBMfRRPi7PotDM90\
FNEjYfHQjwsBEYdE3Kttc5iB4arcIQmRR+YeD1zU4h1tAMPF9WmlEu1LmS2Uaooud2ZH2yZ5flGqpk+2lg33jAvCY+gD/UAgw+n\
eneKwFukLORqpYhtxlQjNN4ZrudZToTkMZ9i7dvrIFGt7hGmN2Jan5xhqQziaZx/nMGHDs66/RcOoNE7Qi71PeEBEPUe7oXOIx9\
LvA/X6/xuXBaVKv+0Xi1zFo1NB4NmlrdZRFJzE4Pg4n0z8lcQgg/X2sSnCn5PCeKcHzWA+R+JhOTcxenNHQue1d+sdUCVHej4Xa\
Oi01Ycorb9xXSeYTR0Fg6FI5kxLWasty+4266fxTR9AoEP3U8=\\n",
"job_stderr": "", "working_directory": "/pulsar/staging/task-1.1/working",
"metadata_directory": "/pulsar/staging/task-1.1/metadata",
"job_directory": "/pulsar/staging/task-1.1", "working_directory_contents": [],
"metadata_directory_contents": ["tool_stderr", "job_stdout", "runner.pyz", "tesp/claim",
"tesp/result.json", "tesp/tails/0.stdout"], "outputs_directory_contents": [],
"job_directory_contents": ["metadata", "return_code", "working"], "system_properties":
{"separator": "/"}, "pulsar_version": "0.16.0", "realized_dynamic_file_sources": []}"""
GONE = b"""{"job_id": "task-1.1", "complete": "true", "status": "lost", "returncode": null,
"stdout": "", "stderr": "", "job_stdout": "", "job_stderr": "", "working_directory_contents": [],
"metadata_directory_contents": [], "outputs_directory_contents": [], "job_directory_contents": [],
"pulsar_version": "0.16.0"}"""


def settings(**given: object) -> PulsarSettings:
    return PulsarSettings.model_validate({"name": "p", "url": "http://p", **given})


def test_a_running_job_tells_its_state_alone() -> None:
    status = wire.status_of(RUNNING)
    assert (status.state, status.returncode, status.gone) == ("running", None, False)
    assert status.wrote("result.json") is None
    assert status.report() is None


def test_a_job_that_ended_tells_its_files_and_its_report() -> None:
    status = wire.status_of(COMPLETE)
    assert (status.state, status.returncode) == ("complete", 0)
    assert (status.wrote("result.json"), status.wrote("heartbeat")) == (True, False)
    report = status.report()
    assert report is not None
    assert report.result is not None
    assert [e.exit_code for e in report.result.executors] == [3]
    assert report.tails["0.stdout"] == b"hello\n"


def test_a_job_without_a_directory_is_gone_and_one_that_is_only_lost_is_not() -> None:
    assert wire.status_of(GONE).gone
    lost = {**json.loads(GONE), "job_directory_contents": ["metadata"]}
    assert not wire.status_of(lost).gone
    assert not wire.status_of({"status": "lost"}).gone


@pytest.mark.parametrize("body", [b"", b"OK", b"[]", b'{"status": null}', b"<html>", b"\xff{}"])
def test_what_is_no_status_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        wire.status_of(body)


def test_a_status_that_is_too_long_still_tells_its_state() -> None:
    assert wire.state_at_the_head(COMPLETE[:80]).state == "complete"
    with pytest.raises(ValueError):
        wire.state_at_the_head(b'{"job_id": "x"')


@pytest.mark.parametrize("cut", [20, 100, 400])
def test_a_report_that_was_cut_off_is_none(cut: int) -> None:
    data = json.loads(COMPLETE)
    data["job_stdout"] = data["job_stdout"][:cut]
    assert wire.status_of(data).report() is None


def test_a_report_is_found_in_noise() -> None:
    line = report_line(Report(None, tails={"0.stdout": b"\xff"}))
    status = wire.status_of({"status": "complete", "job_stdout": f"noise\n{line}\nmore\n"})
    report = status.report()
    assert report is not None
    assert report.tails == {"0.stdout": b"\xff"}


def test_a_place_finds_its_job_again() -> None:
    job = Name.of("_default_", "task-1", 3)
    assert (job.place, Name.at(job.place)) == ("_default_/task-1.3", job)


def test_a_query_carries_names_that_are_no_text() -> None:
    name = b"a b&c/\xff".decode(errors="surrogateescape")
    assert wire.query({"name": name, "x": "+"}) == "name=a%20b%26c%2F%FF&x=%2B"


def test_the_smallest_class_that_fits_is_chosen() -> None:
    classes = [
        {"manager": "large", "cpus": 16, "ram_gb": 64},
        {"manager": "wide", "cpus": 16, "ram_gb": 8},
        {"manager": "small", "cpus": 2, "ram_gb": 4},
    ]
    known = settings(classes=classes)
    chosen = {
        (cpus, ram): wire.manager_for(known, Needs(cpus=cpus, ram_bytes=int(ram * 1e9)))
        for cpus, ram in ((0.0, 0.0), (2.0, 4.0), (2.5, 1.0), (1.0, 9.0))
    }
    assert list(chosen.values()) == ["small", "small", "wide", "large"]
    with pytest.raises(BackendRefused, match="holds 32 cores and 1 GB"):
        wire.manager_for(known, Needs(cpus=32, ram_bytes=10**9))
    assert wire.manager_for(settings(manager="own"), Needs(cpus=32)) == "own"
    assert wire.managers_of(known) == ["large", "wide", "small"]
    assert wire.managers_of(settings()) == ["_default_"]


def test_submit_params_are_whole_numbers_that_hold_what_is_asked_for() -> None:
    known = settings(
        submit_params={"native_specification": "-c {cpus} --mem={ram_mb}M", "gb": "{ram_gb}"}
    )
    asked = wire.submit_params(known, Limits(cpus=1.5, memory_bytes=2_500_000_001))
    assert asked == {"native_specification": "-c 2 --mem=2501M", "gb": "3"}
    assert wire.submit_params(known, Limits())["native_specification"] == "-c 1 --mem=1000M"


def test_a_command_line_lets_nothing_but_the_report_out() -> None:
    line = command.run_line("/opt/py 3/python")
    words = shlex.split(line.rpartition("; ")[2])
    assert words[:6] == [
        *("/opt/py 3/python", "-I", "-S"),
        *("../metadata/runner.pyz", "job", "../metadata/tesp"),
    ]
    assert "2>../metadata/tool_stderr" in words
    assert "exit" not in line


def test_the_shell_of_a_job_that_is_told_to_end_waits_for_the_runner() -> None:
    assert command.run_line("python3").startswith("trap : TERM; ")


def test_a_state_that_pulsar_has_no_word_for_is_no_end() -> None:
    held = wire.status_of({"complete": "false", "status": None, "job_id": "t1-1.1"})
    assert held.state == wire.OTHER
    assert held.state not in wire.FINAL


def test_a_task_of_just_the_size_of_a_class_fits_it_and_all_that_there_is() -> None:
    # As floating point numbers, 2.3 * 10**9 is a little less.
    size = {"manager": "m", "cpus": 1, "ram_gb": 2.3}
    settings = PulsarSettings(
        name="p", url="http://here", classes=[size], limits={"tasks": 1, "ram_gb": 2.3}
    )
    needs = needs_of(Resources(cpu_cores=1, ram_gb=2.3), {})
    assert wire.manager_for(settings, needs) == "m"
    assert wire.capacity_of(settings.limits).ram_bytes >= needs.ram_bytes


@pytest.mark.parametrize(
    ("status", "not_run"),
    [
        (Status(wire.COMPLETE, 126), True),
        (Status(wire.COMPLETE, 1, job_stderr="sh: 1: /s/command.sh: Text file busy"), True),
        (Status(wire.COMPLETE, 127, job_stderr="python3: not found"), False),
        (Status(wire.COMPLETE, 0), False),
        (Status(wire.COMPLETE), False),
    ],
)
def test_a_script_that_was_in_hand_was_not_run(status: Status, not_run: bool) -> None:
    assert status.not_run is not_run
