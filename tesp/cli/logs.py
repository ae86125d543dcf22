"""`tesp logs`: what the executors wrote, also while they run."""

import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from tesp.cli.options import DEFAULT_URL, TaskId, Url, connect
from tesp.cli.pauses import Pauses
from tesp.cli.service import Document, Service, state_of
from tesp.cli.tails import news, tail_bytes
from tesp.cli.terminal import note
from tesp.tes.states import TERMINAL, State

_LIVE = re.compile(r"executor\.(\d+)\.(stdout|stderr)")


@dataclass(frozen=True, slots=True, order=True)
class Stream:
    """One stream of one executor of one attempt; both count from 0."""

    attempt: int
    executor: int
    name: str


def logs(
    task_id: TaskId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the task has ended.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Print what a task's executors wrote: stdout to stdout, stderr to stderr.

    The service keeps the last 64 KiB of each; whole streams go to the executors' stdout and
    stderr files.

    Example: tesp logs -f 01jd0c5zq8
    """
    with connect(url) as service:
        task = _follow(service, task_id) if follow else _once(service, task_id)
    for sentence in (task.get("logs") or [{}])[-1].get("system_logs", ()):
        note(f"system: {sentence}")
    if state_of(task) not in (State.COMPLETE, State.UNKNOWN):
        note(f"{task_id} is {task['state']}.")


def _once(service: Service, task_id: str) -> Document:
    task = service.task(task_id, "FULL")
    Printer().show(task)
    return task


def _follow(service: Service, task_id: str) -> Document:
    printer, pauses = Printer(), Pauses()
    while True:
        task = service.task(task_id, "FULL")
        if printer.show(task):
            pauses.news()
        if state_of(task) in TERMINAL:
            return task
        time.sleep(next(pauses))


class Printer:
    """Prints of each stream what it has not printed yet."""

    def __init__(self) -> None:
        self._seen: dict[Stream, bytes] = {}

    def show(self, task: Document) -> bool:
        """Print what is new in a task's FULL view; whether something is."""
        any_new = False
        for stream, tail in streams(task):
            new = news(self._seen.get(stream, b""), tail)
            self._seen[stream] = tail or self._seen.get(stream, b"")
            if new.gap:
                note(f"[some {stream.name} of executors[{stream.executor}] is not shown]")
            if new.data:
                _write(stream.name, new.data)
                any_new = True
        return any_new


def streams(task: Document) -> Iterator[tuple[Stream, bytes]]:
    """The tail of every stream: out of the log of an executor that ended, else the live one."""
    for number, attempt in enumerate(task.get("logs") or ()):
        metadata = attempt.get("metadata") or {}
        ended = attempt.get("logs") or ()
        for index, log in enumerate(ended):
            for name in ("stdout", "stderr"):
                key = f"executor.{index}.{name}"
                yield Stream(number, index, name), tail_bytes(log.get(name) or "", key, metadata)
        for key in sorted(metadata):
            live = _LIVE.fullmatch(key)
            if live and int(live[1]) >= len(ended):
                text = tail_bytes(metadata[key], key, metadata)
                yield Stream(number, int(live[1]), live[2]), text


def _write(name: str, data: bytes) -> None:
    """To a file or a pipe byte for byte; a terminal is not to take noise as its commands."""
    out = sys.stdout if name == "stdout" else sys.stderr
    if out.isatty():
        out.write(visible(data))
    else:
        out.buffer.write(data)
    out.flush()


def visible(data: bytes) -> str:
    """Text for a terminal: what is no UTF-8, and control characters but a line's, is escaped."""
    text = data.decode(errors="backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t\r" else ascii(c)[1:-1] for c in text)
