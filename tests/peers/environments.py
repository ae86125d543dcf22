"""The virtual environments under .venvs: peers whose packages must not meet ours."""

import os
import sys
from pathlib import Path

from tests.peers.room import PeerError

_ROOT = Path(__file__).parents[2] / ".venvs"


def interpreter(environment: str) -> Path:
    """The Python of one environment, made by `make test`."""
    return program(environment, "python")


def program(environment: str, name: str) -> Path:
    """A program in the bin directory of one environment."""
    path = _ROOT / environment / "bin" / name
    if not path.exists():
        raise PeerError(f"{path}: no such program; `make test` installs it")
    return path


def find_own_python() -> None:
    """From now on `python3` is the one that made ours: where it is a shim in a shell, each start
    of a job or a script would cost as much again."""
    programs = Path(sys.base_prefix) / "bin"
    if (programs / "python3").exists():
        os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"
