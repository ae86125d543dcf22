"""What a person sees: results on standard output, everything else on standard error."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tesp.errors import InvalidTask, TespError

_STYLES = {
    "COMPLETE": "green",
    "RUNNING": "cyan",
    "INITIALIZING": "cyan",
    "CANCELED": "yellow",
    "CANCELING": "yellow",
    "EXECUTOR_ERROR": "red",
    "SYSTEM_ERROR": "red",
    "PREEMPTED": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


def note(sentence: str) -> None:
    """Say something beside the result."""
    print(sentence, file=sys.stderr, flush=True)


def show_error(error: TespError) -> None:
    """One line, or one line for each problem."""
    if not isinstance(error, InvalidTask):
        note(f"tesp: {error}")
        return
    for problem in error.problems:
        note(f"tesp: {problem.field}: {problem.message}")


def show_json(document: Any) -> None:
    """A document as JSON that a person can read."""
    print(json.dumps(document, indent=2, ensure_ascii=not _is_unicode()))


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table: fitted to the terminal, or plain columns parted by tabs where there is none."""
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(" ".join(cell.split()) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        # An id or a path that is cut short cannot be copied.
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, _STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def size_text(size: int) -> str:
    """A size in decimal units: 12 B, 3.4 MB."""
    if size < 1000:
        return f"{size} B"
    number, units = float(size), iter("kMGTPE")
    unit = ""
    while number >= 999.95 and (following := next(units, None)):
        number, unit = number / 1000, following
    return f"{number:.1f} {unit}B"


def tags_text(tags: Mapping[str, str]) -> str:
    """Tags as they are written on the command line."""
    return " ".join(f"{k}={v}" for k, v in tags.items())
