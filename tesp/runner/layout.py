"""The directories of a workspace, as a task is to find them."""

import os
from typing import List

from tesp.runner.plan import DIRECTORIES_DIR, Plan
from tesp.runner.process import encode

OPEN = 0o777  # whatever user the container has


def lay_out(plan: Plan) -> None:
    """Make the plan's directories, and those that lie ready as a tree in DIRECTORIES_DIR.

    Files in that tree only carry their directories here.
    """
    for path in [encode(d) for d in plan.directories] + _tree(encode(DIRECTORIES_DIR)):
        _make(path)


def _make(path: bytes) -> None:
    """Make a directory with its parents."""
    parts = [p for p in path.split(b"/") if p not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts:
        raise ValueError("%r is not a plain relative path" % path)
    for length in range(1, len(parts) + 1):
        folder = b"/".join(parts[:length])
        if not os.path.isdir(folder):
            os.mkdir(folder)
            _open_up(folder)
    _open_up(b"/".join(parts))


def _tree(top: bytes) -> List[bytes]:
    """The directories below one, each relative to it."""
    return [folder[len(top) + 1 :] for folder, _, _ in os.walk(top) if folder != top]


def _open_up(folder: bytes) -> None:
    if os.stat(folder).st_mode & OPEN != OPEN:
        os.chmod(folder, OPEN)
