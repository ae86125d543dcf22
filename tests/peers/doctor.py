"""`tesp doctor` as a program that sees only what a test gives it."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from tests.peers.room import free_port

_PROGRAM = Path(sys.executable).with_name("tesp")

Finding = dict[str, str]


class Doctor:
    """The program in a directory of its own, with findings by what was looked at."""

    NOWHERE: ClassVar[str] = "unix:///nowhere/docker.sock"

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.programs = directory / "bin"
        self.programs.mkdir()
        self._directory = directory

    def has(self, *names: str) -> None:
        """Put programs of this machine on the doctor's PATH, which is empty otherwise."""
        for name in names:
            path = shutil.which(name)
            assert path, name
            (self.programs / name).symlink_to(path)

    def examine(self, *flags: str, **variables: str) -> tuple[int, dict[str, Finding]]:
        """Exit code, and the findings."""
        environ = {k: v for k, v in os.environ.items() if k != "DOCKER_HOST"}
        settings = {f"TESP_{name.upper()}": value for name, value in variables.items()}
        done = subprocess.run(
            [_PROGRAM, "doctor", "--json", "--data", self.data, *flags],
            env={**environ, **_quiet(), **settings, "PATH": str(self.programs)},
            cwd=self._directory,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == "", done.stderr
        return done.returncode, {f["check"]: f for f in json.loads(done.stdout)}


def _quiet() -> dict[str, str]:
    """Settings under which only what a test is about can fail."""
    return {
        "TESP_SERVER__PORT": str(free_port()),
        "TESP_CONTAINERS__DOCKER_HOST": Doctor.NOWHERE,
        "TESP_LOCAL__ENABLED": "false",
    }


def entries(*given: dict[str, Any]) -> str:
    """An array of tables, as the value of a variable."""
    tables = ("{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in t.items()) + "}" for t in given)
    return f"[{', '.join(tables)}]"


def verdicts(found: dict[str, Finding], names: Iterable[str]) -> dict[str, str]:
    return {name: found[name]["verdict"] for name in names}
