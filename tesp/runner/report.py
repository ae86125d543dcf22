"""The report of a job as one line of ASCII: how it stands, for who sees nothing but its stdout."""

import binascii
import json
import os
import re
import zlib
from typing import Any, Dict, NamedTuple, Optional

from tesp.runner.plan import (
    FAILED,
    FINISHED,
    HEARTBEAT_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    TAILS_DIR,
    TOO_MANY_OUTPUTS,
    Progress,
    Result,
)

PREFIX = "tesp-report:"
MOST_CHARACTERS = 700000  # Pulsar cuts a job's stdout at a mebibyte
MOST_WARNINGS = 100
_LARGEST_JSON = 64 << 20
_TAIL_STEPS = (16384, 4096, 0)  # what is left of each tail where all is too much


class Report(NamedTuple):
    """How a job stands: no result while it runs, `heartbeat` in seconds since the epoch."""

    result: Optional[Result] = None
    progress: Progress = Progress()
    heartbeat: Optional[float] = None
    tails: Dict[str, bytes] = {}


def look() -> Report:
    """How the job of this workspace stands."""
    result, progress = _json(RESULT_FILE), _json(PROGRESS_FILE)
    return Report(
        None if result is None else Result.from_json(result),
        Progress() if progress is None else Progress.from_json(progress),
        heartbeat(),
        _tails(),
    )


def heartbeat() -> Optional[float]:
    """When the runner of this workspace last said that it lives; None where it never did."""
    try:
        with open(HEARTBEAT_FILE, "rb") as file:
            return float(file.read())
    except (OSError, ValueError):
        return None


def report_line(report: Report, most: int = MOST_CHARACTERS) -> str:
    """The report in so many characters: tails give way first, then the list of outputs."""
    line = _packed(report)
    for kept in _TAIL_STEPS:
        if len(line) <= most:
            return line
        tails = {n: t[max(0, len(t) - kept) :] for n, t in report.tails.items() if kept}
        line = _packed(report._replace(tails=tails))
    if len(line) > most and report.result is not None:
        line = _packed(report._replace(tails={}, result=_cut(report.result)))
    return line


def parse_report(text: str) -> Optional[Report]:
    """The last report in what a job said; None where there is no whole one."""
    lines = re.findall(PREFIX + "([A-Za-z0-9+/=]+)", text)
    if not lines:
        return None
    try:
        return _unpacked(lines[-1])
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None  # cut off, or none of ours


def _packed(report: Report) -> str:
    data = {
        "result": None if report.result is None else report.result.to_json(),
        "progress": report.progress.to_json(),
        "heartbeat": report.heartbeat,
        "tails": {name: _base64(tail) for name, tail in report.tails.items()},
    }
    return PREFIX + _base64(zlib.compress(json.dumps(data).encode("ascii")))


def _unpacked(line: str) -> Optional[Report]:
    stream = zlib.decompressobj()
    text = stream.decompress(binascii.a2b_base64(line), _LARGEST_JSON)
    if not stream.eof:
        return None
    data = json.loads(text.decode("ascii"))
    return Report(
        None if data["result"] is None else Result.from_json(data["result"]),
        Progress.from_json(data["progress"]),
        data["heartbeat"],
        {name: binascii.a2b_base64(tail) for name, tail in data["tails"].items()},
    )


def _cut(result: Result) -> Result:
    """The result without its list of outputs: a success becomes a failure that says why."""
    count = len(result.found)
    sentence = (
        "The task has %d output files, more than the report of its job can list."
        " Write fewer files, or pack them into an archive." % count
    )
    cut = result._replace(found=[], sent=None, warnings=result.warnings[:MOST_WARNINGS])
    if result.status == FINISHED:
        return cut._replace(status=FAILED, reason=TOO_MANY_OUTPUTS, message=sentence)
    return cut._replace(warnings=cut.warnings + [sentence])


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def _tails() -> Dict[str, bytes]:
    tails = {}
    try:
        names = sorted(n for n in os.listdir(TAILS_DIR) if n.endswith((".stdout", ".stderr")))
    except OSError:
        return {}
    for name in names:
        try:
            with open(TAILS_DIR + "/" + name, "rb") as file:
                tails[name] = file.read()
        except FileNotFoundError:
            pass  # replaced at this moment, or removed
    return tails


def _json(path: str) -> Optional[Dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
