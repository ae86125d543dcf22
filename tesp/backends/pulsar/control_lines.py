"""The command lines of control jobs, and what they print. Pure.

A control job finds another job's directory beside its own, and uses the runner that lies in there:
where there is none, nothing of that job ever ran.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tesp.backends.pulsar import command, wire
from tesp.backends.pulsar.messages import SEND_URL_FILE
from tesp.runner.plan import CANCEL_FILE, PUBLISHED_DIR
from tesp.runner.report import Report, parse_report

PREFIX = "tesp-control-"
_OLD_MINUTES = 120

_THERE, _ABSENT = "tesp-there", "tesp-absent"
_WORDS, _SEND_URL = "tesp-words:", "tesp-send-url:"
_FORBIDDEN, _BEGUN = "tesp-forbidden", "tesp-begun"
_COLLECTED, _LEFT = "tesp-collected", "tesp-left:"


@dataclass(frozen=True, slots=True)
class Look:
    """How a job looks from beside it. `words` are Pulsar's own on why it did not start."""

    there: bool
    report: Report | None = None
    words: str = ""
    send_url: str | None = None


def look_line(python: str, job_id: str) -> str:
    """Tell how a job stands, each thing on a line of its own."""
    there = command.directory_of(job_id)
    archive = f"{there}/metadata/{wire.ARCHIVE}"
    report = command.control_line(python, "report", command.workspace_of(job_id), archive=archive)
    return (
        f"if [ -d {there} ]; then echo {_THERE}; else echo {_ABSENT}; fi; "
        f"{_said(f'{there}/stderr', _WORDS)}{_said(f'{there}/metadata/{SEND_URL_FILE}', _SEND_URL)}"
        f"if [ -e {archive} ]; then {report}; fi"
    )


def look_in(printed: str) -> Look | None:
    """What a look printed, None where it was none."""
    words = printed.split()
    if _THERE not in words and _ABSENT not in words:
        return None
    return Look(
        there=_THERE in words,
        report=parse_report(printed),
        words=" ".join(_heard(printed, _WORDS).split()),
        send_url=_heard(printed, _SEND_URL) or None,
    )


def collect_line(job_id: str) -> str:
    """Take the published outputs of a job over, without taking them away."""
    published = f"{command.workspace_of(job_id)}/{PUBLISHED_DIR}"
    return (
        f"mkdir -p {command.HERE}; "
        f"{{ cp -al {published} {command.HERE}/ || cp -R {published} {command.HERE}/; }} "
        f"2>{command.METADATA}/tool_stderr && echo {_COLLECTED}"
    )


def collected(printed: str) -> bool:
    """Whether the outputs were there."""
    return _COLLECTED in printed.split()


def end_line(python: str, job_id: str, *, waits: bool) -> str:
    """Tell a job to end, and see that nothing runs for it. `waits`: Pulsar is not to start it."""
    there, workspace = command.directory_of(job_id), command.workspace_of(job_id)
    archive = f"{there}/metadata/{wire.ARCHIVE}"
    remove = command.control_line(python, "remove", workspace, archive=archive)
    forbid = f"echo true >{there}/cancelled; " if waits else ""
    return (
        f"if [ -d {there} ]; then {forbid}mkdir -p {workspace}; : >{workspace}/{CANCEL_FILE}; fi; "
        f"if [ -e {archive} ]; then {remove}; fi"
    )


def forbid_line(job_id: str) -> str:
    """Keep Pulsar from starting a job whose inputs it brings, and tell where it has begun to: then
    it must not find the job canceled, or it forgets what it has just put into a queue."""
    there, workspace = command.directory_of(job_id), command.workspace_of(job_id)
    mark, begun = f"{there}/cancelled", f"[ -e {there}/command.sh ]"
    return (
        f"mkdir -p {workspace}; : >{workspace}/{CANCEL_FILE}; "
        # It may have looked for the mark just before.
        f"[ -e {mark} ] || {begun} || {{ echo true >{mark}; sleep 0.05; {begun} && rm {mark}; }}; "
        f"if {begun}; then echo {_BEGUN}; else echo {_FORBIDDEN}; fi"
    )


def forbidden(printed: str) -> bool | None:
    """Whether the job will not be started; None where nothing was told."""
    told = {_FORBIDDEN: True, _BEGUN: False}
    return next((told[word] for word in printed.split() if word in told), None)


def discard_line(python: str, job_ids: Sequence[str]) -> str:
    """Remove jobs, with what may still run for them, and tell which are left."""
    names = " ".join(job_ids)
    archive = f"../../$job/metadata/{wire.ARCHIVE}"
    here = f"{command.METADATA}/{wire.ARCHIVE}"
    discard = command.control_line(
        python, "discard", *(command.directory_of(job_id) for job_id in job_ids)
    )
    old = f"-name '{PREFIX}*' -mmin +{_OLD_MINUTES}"
    return (
        f"for job in {names}; do if [ -e {archive} ]; then cp -f {archive} {here}; break; fi; "
        f"done; if [ -e {here} ]; then {discard}; else {removal(job_ids)}; fi; "
        f"for job in {names}; do if [ -e ../../$job ]; then echo {_LEFT}$job; fi; done; "
        f"find ../.. -mindepth 1 -maxdepth 1 {old} -exec rm -rf {{}} +"
    )


def removal(job_ids: Sequence[str]) -> str:
    """Remove directories in which nothing runs."""
    return "rm -rf " + " ".join(command.directory_of(job_id) for job_id in job_ids)


def left_in(printed: str) -> list[str]:
    """The jobs that could not be removed."""
    return re.findall(f"^{_LEFT}(.+)$", printed, re.MULTILINE)


def _said(file: str, mark: str) -> str:
    """Print a file after a mark, as one word."""
    return f"if [ -s {file} ]; then echo {mark}$(head -c 4096 {file} | base64 | tr -d '\\n'); fi; "


def _heard(printed: str, mark: str) -> str:
    found = re.search(f"^{mark}(.*)$", printed, re.MULTILINE)
    try:
        return base64.b64decode(found[1]).decode(errors="replace") if found else ""
    except binascii.Error:
        return ""
