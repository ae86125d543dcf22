"""How a task ended, in words: its outputs, or the ends of its logs."""

import sys
from collections.abc import Iterable, Iterator

from tesp.cli.service import Document, state_of
from tesp.cli.terminal import note, show_table, size_text
from tesp.tes.states import State

_TAIL_LINES = 20


def show_outcome(task: Document) -> None:
    """The outputs of a COMPLETE task on standard output; of any other, why it is none."""
    if state_of(task) is State.COMPLETE:
        rows = list(output_rows(task))
        if rows:
            show_table(("PATH", "SIZE", "URL"), rows)
    else:
        for line in failure_lines(task):
            note(line)
    sys.stdout.flush()


def output_rows(task: Document) -> Iterator[tuple[str, str, str]]:
    """Path, size and URL of each file that was sent out."""
    for output in _last_attempt(task).get("outputs", ()):
        size = str(output.get("size_bytes", ""))
        yield output["path"], size_text(int(size)) if size.isdigit() else "?", output["url"]


def failure_lines(task: Document) -> Iterator[str]:
    """Why it failed: the ends of the streams of the executor that ended it, the system's words."""
    attempt = _last_attempt(task)
    yield f"{task['id']} ended as {task['state']}."
    executors = attempt.get("logs", ())
    if executors:
        last = len(executors) - 1
        yield f"executors[{last}] ended with exit code {executors[last].get('exit_code')}"
        for stream in ("stderr", "stdout"):
            yield from _tail(f"executors[{last}] {stream}", executors[last].get(stream) or "")
    yield from (f"system: {sentence}" for sentence in attempt.get("system_logs", ()))


def _tail(name: str, text: str) -> Iterable[str]:
    lines = text.splitlines()
    if not lines:
        return []
    cut = f" (the last {_TAIL_LINES} lines)" if len(lines) > _TAIL_LINES else ""
    return [f"--- {name}{cut}", *lines[-_TAIL_LINES:]]


def _last_attempt(task: Document) -> Document:
    attempts = task.get("logs") or [{}]
    last: Document = attempts[-1]
    return last
