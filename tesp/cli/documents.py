"""Task documents out of files."""

import json
import sys
from pathlib import Path
from typing import Any

from tesp.errors import InvalidTask, Problem


def read_document(file: str) -> dict[str, Any]:
    """The JSON object in a file (`-`: standard input); raises InvalidTask that names it."""
    try:
        text = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        document = json.loads(text, parse_constant=_no_number)
    except OSError as error:
        raise _bad(file, f"cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise _bad(file, f"is not JSON: {error.msg} at {where}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(file, f"is not JSON that can be used: {error}") from error
    if not isinstance(document, dict):
        raise _bad(file, "is not a task: a task document is one JSON object")
    return document


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _bad(file: str, why: str) -> InvalidTask:
    return InvalidTask([Problem("standard input" if file == "-" else file, why)])
