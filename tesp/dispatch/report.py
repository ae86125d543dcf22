"""What an attempt's end means for its task: state, logs, sentences. Pure."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from tesp.runner import plan
from tesp.tes.models import ExecutorLog, OutputFileLog, TaskLog, timestamp
from tesp.tes.states import Transition

_MENDS = {
    plan.IMAGE_MISSING: "Check the executor's image, or push it to that registry.",
    plan.IMAGE_REFUSED: "The operator sets credentials under containers.registries.",
    plan.RUNTIME_MISSING: "The operator starts or installs the container runtime; "
    "`tesp doctor` tells more.",
    plan.DISK_FULL: "Free some disk on the machine, or ask for less.",
    plan.OUTPUT_REFUSED: "Write a regular file inside the task's own directories.",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt is to end: the transition, and a sentence where it failed."""

    transition: Transition
    sentence: str | None = None

    def to_json(self) -> str:
        """The text that is kept with the attempt until it is cleaned."""
        return _OUTCOME.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Outcome":
        """The inverse of to_json."""
        return _OUTCOME.validate_json(text)


_OUTCOME = TypeAdapter(Outcome)


def outcome_of(result: plan.Result, executors: Sequence[plan.Executor]) -> Outcome:
    """What a result says of the executors; outputs are judged apart."""
    if result.status == plan.FAILED:
        mend = _MENDS.get(result.reason or "", "")
        return Outcome(Transition.SYSTEM_FAILED, f"{result.message} {mend}".strip())
    if result.status == plan.TIME_LIMIT:
        return Outcome(Transition.EXECUTOR_FAILED, "The time limit of the task has passed.")
    if result.status == plan.CANCELED:
        return Outcome(
            Transition.SYSTEM_FAILED, "The task was ended by a signal from outside the service."
        )
    for number, (planned, ended) in enumerate(zip(executors, result.executors, strict=False)):
        if ended.exit_code != 0 and not planned.ignore_error:
            return Outcome(Transition.EXECUTOR_FAILED, _failure(number, ended))
    return Outcome(Transition.COMPLETE)


def _failure(number: int, ended: plan.ExecutorResult) -> str:
    why = ": it ran out of memory; ask for more resources.ram_gb" if ended.out_of_memory else ""
    return f"executors[{number}] ended with exit code {ended.exit_code}{why}."


def missing_outputs(
    outcome: Outcome, outputs: Sequence[plan.Output], result: plan.Result
) -> Outcome:
    """A COMPLETE that lacks an output which it names is none; wildcards may match nothing."""
    if outcome.transition is not Transition.COMPLETE:
        return outcome
    absent = [
        o.path
        for o, kind in zip(outputs, result.types, strict=False)
        if kind is None and not o.pattern
    ]
    if not absent:
        return outcome
    return Outcome(
        Transition.SYSTEM_FAILED,
        f"The executors succeeded but left no {', '.join(absent)}: "
        "check the output's path against what the command writes.",
    )


@dataclass(frozen=True, slots=True)
class Report:
    """The growing log of one attempt."""

    started: str
    metadata: Mapping[str, str]
    system: tuple[str, ...] = ()
    executors: tuple[ExecutorLog, ...] = ()
    outputs: tuple[OutputFileLog, ...] = ()

    def say(self, *sentences: str | None) -> "Report":
        """Add sentences to the system logs, each once."""
        new = [s for s in dict.fromkeys(sentences) if s and s not in self.system]
        return replace(self, system=(*self.system, *new))

    def know(self, **metadata: str) -> "Report":
        """Add metadata."""
        return replace(self, metadata={**self.metadata, **metadata})

    def ran(self, ended: Sequence[plan.ExecutorResult], tails: Mapping[str, bytes]) -> "Report":
        """Take the executors that have ended, with the tails of their streams."""
        logs = tuple(_executor_log(n, e, tails) for n, e in enumerate(ended))
        facts = {k: v for n, e in enumerate(ended) for k, v in _facts(n, e)}
        known = {k: v for n in range(len(ended)) for k, v in _encodings(n, tails)}
        return replace(self, executors=logs, metadata={**self.metadata, **facts, **known})

    def sent(self, outputs: Iterable[OutputFileLog]) -> "Report":
        """Take the files that were sent out; those of an upload that was begun anew go."""
        return replace(self, outputs=tuple(outputs))

    def log(self, ended: float | None = None) -> TaskLog:
        """The TaskLog as it stands."""
        return TaskLog(
            logs=list(self.executors),
            outputs=list(self.outputs),
            metadata=dict(self.metadata) or None,
            start_time=self.started,
            end_time=None if ended is None else timestamp(ended),
            system_logs=list(self.system) or None,
        )


def report_of(log: TaskLog) -> Report:
    """Carry on with a report that another worker began."""
    return Report(
        started=log.start_time or timestamp(time.time()),
        metadata=dict(log.metadata or {}),
        system=tuple(log.system_logs or ()),
        executors=tuple(log.logs),
        outputs=tuple(log.outputs),
    )


def _executor_log(
    number: int, ended: plan.ExecutorResult, tails: Mapping[str, bytes]
) -> ExecutorLog:
    return ExecutorLog(
        exit_code=ended.exit_code,
        start_time=timestamp(ended.start_time),
        end_time=timestamp(ended.end_time),
        stdout=text_of(tails.get(f"{number}.stdout", b"")),
        stderr=text_of(tails.get(f"{number}.stderr", b"")),
    )


def _facts(number: int, ended: plan.ExecutorResult) -> Iterable[tuple[str, str]]:
    if ended.peak_memory_bytes is not None:
        yield f"executor.{number}.peak_memory_bytes", str(ended.peak_memory_bytes)
    if ended.cpu_seconds is not None:
        yield f"executor.{number}.cpu_seconds", f"{ended.cpu_seconds:.3f}"


def _encodings(number: int, tails: Mapping[str, bytes]) -> Iterable[tuple[str, str]]:
    for stream in ("stdout", "stderr"):
        if _decoded(tails.get(f"{number}.{stream}", b"")) is None:
            yield f"executor.{number}.{stream}.encoding", "backslash"


def live_tails(running: int | None, tails: Mapping[str, bytes]) -> dict[str, str]:
    """The tails of the executor that runs, as metadata."""
    if running is None:
        return {}
    now = {
        f"{running}.{stream}": _without_last_part(tails.get(f"{running}.{stream}", b""))
        for stream in ("stdout", "stderr")
    }
    texts = {f"executor.{name}": text_of(tail) for name, tail in now.items() if tail}
    return {**texts, **dict(_encodings(running, now))}


def text_of(tail: bytes) -> str:
    r"""A stream as text, without loss: where it is no UTF-8, such bytes are written `\xNN` and
    backslashes doubled, so that it can be undone."""
    text = _decoded(tail)
    return tail.replace(b"\\", b"\\\\").decode(errors="backslashreplace") if text is None else text


def _decoded(tail: bytes) -> str | None:
    """The text, None where it is no UTF-8. What was cut in a character's middle begins after."""
    start = 0
    if len(tail) >= plan.Plan._field_defaults["tail_bytes"]:
        while start < 3 and tail[start] & 0xC0 == 0x80:
            start += 1
    try:
        return tail[start:].decode()
    except UnicodeDecodeError:
        return None


def _without_last_part(tail: bytes) -> bytes:
    """A live tail without a last character of which only a part is here yet."""
    for back in range(1, min(4, len(tail)) + 1):
        lead = tail[-back]
        if lead & 0xC0 == 0xC0:
            needs = 4 if lead >= 0xF0 else 3 if lead >= 0xE0 else 2
            return tail[:-back] if needs > back else tail
    return tail
