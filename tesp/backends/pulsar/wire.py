"""What is said to a Pulsar and what it answers, as values. Pure.

A job is named `{handle}.{epoch}`, and its place `{manager}/{job id}`. Its workspace is the
directory `tesp` below the job's metadata directory, where files nest, may be written and read
while the job runs, and are not copied around before it starts.
"""

import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote

from tesp.backends import Capacity
from tesp.errors import BackendRefused
from tesp.runner.plan import DIRECTORIES_DIR, Limits
from tesp.runner.report import Report, parse_report
from tesp.settings import PulsarLimits, PulsarSettings
from tesp.tes.needs import Needs, in_bytes

WORKSPACE = "tesp"
ARCHIVE = "runner.pyz"
MARKER = "_"

PREPROCESSING, QUEUED, RUNNING = "preprocessing", "queued", "running"
POSTPROCESSING, COMPLETE, CANCELLED = "postprocessing", "complete", "cancelled"
FAILED, LOST = "failed", "lost"
# What a scheduler says and Pulsar has no word for: suspended, its nodes boot, and the like.
OTHER = "other"
# What Pulsar never takes back. LOST is not among them: it is said of jobs that still run.
FINAL = frozenset({COMPLETE, CANCELLED, FAILED})
# Not running, as far as Pulsar knows.
WAITING = frozenset({PREPROCESSING, QUEUED, OTHER})
# So long without a beat, a runner is dead that Pulsar does not say to run: three were missed.
MISSED_SECONDS = 17.0

_STATE = re.compile(rb'"status"\s*:\s*"(\w+)"')
# A directory that is still written to is removed again after so many seconds each.
REMOVAL_PAUSES = (0.5, 2.0, 5.0)
_CANNOT_BE_RUN = 126
_SCRIPT_IN_HAND = "Text file busy"  # ETXTBSY, in the words of every shell


@dataclass(frozen=True, slots=True)
class Name:
    """A job of a Pulsar: the manager it belongs to, and its id there."""

    manager: str
    id: str

    @property
    def place(self) -> str:
        """The text that finds the job again."""
        return f"{self.manager}/{self.id}"

    @classmethod
    def at(cls, place: str) -> Self:
        """The inverse of `place`."""
        manager, _, job_id = place.rpartition("/")
        return cls(manager, job_id)

    @classmethod
    def of(cls, manager: str, handle: str, epoch: int) -> Self:
        """The job of an attempt."""
        return cls(manager, f"{handle}.{epoch}")


@dataclass(frozen=True, slots=True)
class Status:
    """How Pulsar says that a job stands; most is known of a job that it calls ended.

    `metadata_files` and `job_files` are names below those directories, None where not told.
    """

    state: str
    returncode: int | None = None
    stderr: str = ""
    job_stdout: str = ""
    job_stderr: str = ""
    metadata_files: frozenset[str] | None = None
    job_files: frozenset[str] | None = None

    @property
    def gone(self) -> bool:
        """Whether there is no directory of that job."""
        return self.state == LOST and self.job_files == frozenset()

    @property
    def unheard_of(self) -> bool:
        """Whether Pulsar has not found it any more, which is all that it knows of an end: its
        scheduler may have been away."""
        return self.state == COMPLETE and self.returncode is None

    @property
    def not_run(self) -> bool:
        """Whether the shell could not run the job's script, perhaps because it was in hand."""
        return self.returncode == _CANNOT_BE_RUN or passes(self.words())

    def patience(self, silence_seconds: float) -> float:
        """How long the runner may be silent: shorter where Pulsar does not say that it runs."""
        doubted = self.state == QUEUED or self.unheard_of
        return min(silence_seconds, MISSED_SECONDS) if doubted else silence_seconds

    def wrote(self, file: str) -> bool | None:
        """Whether a workspace file is there; None where Pulsar does not tell."""
        return None if self.metadata_files is None else in_metadata(file) in self.metadata_files

    def report(self) -> Report | None:
        """The runner's report, where it came through whole."""
        return parse_report(self.job_stdout)

    def words(self) -> str:
        """The last that its programs said of themselves, on one line."""
        said = " ".join(f"{self.job_stderr}\n{self.stderr}".split())
        return said[-500:]

    def said(self) -> str:
        """The same, to follow a sentence."""
        words = self.words()
        return f" It said: {words}" if words else ""

    def ended(self, pulsar: str, how: str) -> str:
        """The sentence that a job on the Pulsar of that name ended so."""
        code = "" if self.returncode is None else f", exit code {self.returncode}"
        return f"The job on the Pulsar {pulsar} ended {how} ({self.state}{code}).{self.said()}"


def passes(words: str) -> bool:
    """Whether what kept a job from its start passes by itself: one thread of Pulsar's forked while
    another wrote the job's script, which cannot be run for as long as anybody may write it."""
    return _SCRIPT_IN_HAND in words


def status_of(body: bytes | Mapping[str, Any]) -> Status:
    """A status as Pulsar sends it, over REST or in a message; raises ValueError."""
    data = body if isinstance(body, Mapping) else json.loads(body)
    if not isinstance(data, Mapping) or not isinstance(state := _state_in(data), str):
        raise ValueError("no status of a job")  # noqa: TRY004 - of a message, not of a program
    returncode = data.get("returncode")
    return Status(
        state=state,
        returncode=returncode if isinstance(returncode, int) else None,
        stderr=data.get("stderr") or "",
        job_stdout=data.get("job_stdout") or "",
        job_stderr=data.get("job_stderr") or "",
        metadata_files=_names(data.get("metadata_directory_contents")),
        job_files=_names(data.get("job_directory_contents")),
    )


def _state_in(data: Mapping[str, Any]) -> Any:
    state = data.get("status")
    return OTHER if state is None and data.get("complete") == "false" else state


def state_at_the_head(body: bytes) -> Status:
    """The state alone, of a status that was not read to its end; raises ValueError."""
    found = _STATE.search(body)
    if not found:
        raise ValueError("no status of a job")
    return Status(found[1].decode())


def _names(listed: Any) -> frozenset[str] | None:
    return frozenset(listed) if isinstance(listed, list) else None


def in_metadata(file: str) -> str:
    """A workspace file's name below the metadata directory."""
    return f"{WORKSPACE}/{file}"


def marker_of(directory: str) -> str:
    """The empty workspace file that has the runner make a directory."""
    return f"{DIRECTORIES_DIR}/{directory}/{MARKER}"


def query(arguments: Mapping[str, str]) -> str:
    """A query string; names of files may hold bytes that are no text."""
    return "&".join(
        f"{key}={quote(value, safe='', errors='surrogateescape')}"
        for key, value in arguments.items()
    )


def capacity_of(limits: PulsarLimits) -> Capacity:
    """What the settings give to all tasks together."""
    ram = sys.maxsize if limits.ram_gb is None else in_bytes(limits.ram_gb)
    return Capacity(limits.tasks, limits.cpus or math.inf, ram)


def manager_for(settings: PulsarSettings, needs: Needs) -> str:
    """The manager that takes a task: where there are size classes, that of the smallest it fits
    in. Raises BackendRefused where it fits in none."""
    if not settings.classes:
        return settings.manager
    fitting = [
        c
        for c in settings.classes
        if c.cpus >= needs.cpus and in_bytes(c.ram_gb) >= needs.ram_bytes
    ]
    if not fitting:
        raise BackendRefused(
            f"No size class of the Pulsar {settings.name} holds {needs.cpus:g} cores and "
            f"{needs.ram_bytes / 1e9:g} GB."
        )
    return min(fitting, key=lambda c: (c.cpus, c.ram_gb)).manager


def managers_of(settings: PulsarSettings) -> list[str]:
    """Every manager that jobs may go to, each once."""
    classes = (c.manager for c in settings.classes)
    return list(dict.fromkeys(classes)) or [settings.manager]


def submit_params(settings: PulsarSettings, limits: Limits) -> dict[str, str]:
    """The submit_params of a job, filled in with whole numbers that hold what it asks for.

    A task that names no cores or memory asks a scheduler for one core and one gigabyte.
    """
    memory = limits.memory_bytes or 10**9
    values = {
        "{cpus}": math.ceil(limits.cpus or 1),
        "{ram_gb}": math.ceil(memory / 1e9),
        "{ram_mb}": math.ceil(memory / 1e6),
    }
    return {key: _filled(text, values) for key, text in settings.submit_params.items()}


def _filled(text: str, values: Mapping[str, int]) -> str:
    for mark, value in values.items():
        text = text.replace(mark, str(value))
    return text
