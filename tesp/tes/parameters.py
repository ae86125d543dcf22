"""Backend parameters: which are kept, which are dropped with a warning, which are wrong."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tesp.errors import Problem
from tesp.tes import callbacks, moments

_FIELD = "resources.backend_parameters"
_MOST_WARNINGS = 20
_MOST_SHOWN = 80
_GPUS = re.compile(r"all|[A-Za-z0-9][A-Za-z0-9_.:-]*(,[A-Za-z0-9][A-Za-z0-9_.:-]*)*")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_COUNT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Parameters:
    """A task's backend parameters, sorted.

    `kept` are the supported ones as the client wrote them; `needs` the same with keys in
    lower case; `warnings` are sentences on those that were dropped.
    """

    kept: Mapping[str, str]
    needs: Mapping[str, str]
    warnings: tuple[str, ...]
    problems: tuple[Problem, ...]


_NONE = Parameters({}, {}, (), ())


def sort_out(
    given: Mapping[str, str],
    strict: bool,
    supported: Iterable[str],
    most_retries: int,
    callback_hosts: Sequence[str] = (),
) -> Parameters:
    """Sort what a client gave. Keys are the same whatever their case."""
    if not given:
        return _NONE
    known = {name.lower() for name in supported}
    kept = {key: value for key, value in given.items() if key.lower() in known}
    refused = [_unsupported(key, known) for key in given if key.lower() not in known]
    problems = [
        p for key, value in kept.items() if (p := _wrong(key, value, most_retries, callback_hosts))
    ]
    problems += _doubled(kept)
    if len(both := [key for key in kept if key.lower() in moments.PARAMETERS]) > 1:
        problems.append(Problem(f"{_FIELD}.{both[1]}", f"and {both[0]} exclude each other"))
    if strict:
        problems += [Problem(_FIELD, sentence) for sentence in refused]
    needs = {key.lower(): value for key, value in kept.items()}
    return Parameters(kept, needs, _warnings(refused), tuple(problems))


def _warnings(refused: list[str]) -> tuple[str, ...]:
    warnings = [f"{sentence} It was left out." for sentence in refused[:_MOST_WARNINGS]]
    if len(refused) > _MOST_WARNINGS:
        warnings.append(f"{len(refused) - _MOST_WARNINGS} more were left out for the same reason.")
    return tuple(warnings)


def _unsupported(key: str, known: Iterable[str]) -> str:
    names = ", ".join(sorted(known)) or "none"
    return (
        f"The backend parameter {key[:_MOST_SHOWN]!r} is not supported here (supported: {names})."
    )


def _doubled(kept: Mapping[str, str]) -> list[Problem]:
    seen: set[str] = set()
    doubled = [key for key in kept if key.lower() in seen or seen.add(key.lower())]  # type: ignore[func-returns-value]
    return [
        Problem(f"{_FIELD}.{key}", "is given twice; the case of keys is no matter")
        for key in doubled
    ]


def _wrong(
    key: str, value: str, most_retries: int, callback_hosts: Sequence[str]
) -> Problem | None:
    checks: dict[str, Callable[[str], str | None]] = {
        "max_retries": lambda v: _retries(v, most_retries),
        "timeout": _timeout,
        "gpus": _gpus,
        moments.COUNTDOWN: moments.wrong_countdown,
        moments.NOT_BEFORE: moments.wrong_not_before,
        callbacks.PARAMETER: lambda v: callbacks.wrong(v, callback_hosts),
    }
    check = checks.get(key.lower())
    message = check(value) if check else None
    return Problem(f"{_FIELD}.{key}", message) if message else None


def _retries(value: str, most: int) -> str | None:
    if _COUNT.fullmatch(value) and int(value) <= most:
        return None
    return f"must be a whole number from 0 to {most}"


def _timeout(value: str) -> str | None:
    if _SECONDS.fullmatch(value) and float(value) > 0:
        return None
    return "must be a number of seconds above 0, such as 3600"


def _gpus(value: str) -> str | None:
    if _GPUS.fullmatch(value):
        return None
    return "must be a count, ids with commas between them, or `all`"
