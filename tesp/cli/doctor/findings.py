"""What the doctor finds."""

from dataclasses import dataclass
from enum import StrEnum

ANSWER_SECONDS = 5.0


class Verdict(StrEnum):
    """How bad it is: only FAIL keeps the service from its work."""

    OK = "ok"
    NONE = "none"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and the mend where it is not well."""

    what: str
    verdict: Verdict
    found: str
    mend: str = ""


def ok(what: str, found: str) -> Finding:
    """It works."""
    return Finding(what, Verdict.OK, found)


def none(what: str, mend: str) -> Finding:
    """It is not there, and need not be where something else does its work."""
    return Finding(what, Verdict.NONE, "not installed", mend)


def warn(what: str, found: str, mend: str) -> Finding:
    """The service runs, but not as well as it could."""
    return Finding(what, Verdict.WARN, found, mend)


def fail(what: str, found: str, mend: str) -> Finding:
    """The service cannot do what the settings ask for."""
    return Finding(what, Verdict.FAIL, found, mend)


def variable(key: str) -> str:
    """The variable that sets a key."""
    return f"TESP_{key.upper().replace('.', '__')}"
