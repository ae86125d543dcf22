"""The virtual environments under .venvs: peers whose packages must not meet ours."""

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
