"""Snakemake with its TES executor, run by the commands of docs/clients.md."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers.environments import interpreter
from tests.peers.room import PeerError

_ROOT = Path(__file__).parents[2]
_WORKFLOWS = _ROOT / "tests" / "e2e" / "workflows"
# What docs/clients.md calls the place of an installation, and the text that it stands for here.
_PLACE = "/opt/snakemake"
# py-tes gives up after ten seconds: a server that starts cold may take longer to answer.
_PATIENT = """\
from functools import partial
import tes

tes.HTTPClient = partial(tes.HTTPClient, timeout=180)
"""


def installation() -> Path:
    """The environment with Snakemake, its plugins and a wheel of the storage plugin."""
    return interpreter("snakemake").parents[1]


def blocks(kind: str, containing: str) -> list[str]:
    """The blocks of code of one kind in the chapter on Snakemake that hold a text."""
    manual = (_ROOT / "docs" / "clients.md").read_text()
    chapter = re.split(r"^## ", manual, flags=re.MULTILINE)
    ours = next(c for c in chapter if c.startswith("Snakemake\n"))
    found = re.findall(rf"^```{kind}\n(.*?)^```", ours, re.MULTILINE | re.DOTALL)
    return [block for block in found if containing in block]


def block(kind: str, containing: str) -> str:
    """The one block that holds a text, with the installation of the tests in its place."""
    (found,) = blocks(kind, containing)
    return found.replace(_PLACE, str(installation()))


def server_settings() -> dict[str, Any]:
    """What the chapter sets for a server without containers."""
    settings: dict[str, Any] = tomllib.loads(block("toml", "sandbox_paths"))["default"]
    # Python itself, where it is no part of the system that a sandbox sees anyway.
    base = Path(base_prefix())
    if Path("/usr") not in (base, *base.parents):
        settings["containers"]["sandbox_paths"].append(str(base))
    return settings


def base_prefix() -> str:
    """Where the Python is that the environment was made of."""
    argv = [interpreter("snakemake"), "-c", "import sys; print(sys.base_prefix)"]
    return subprocess.run(argv, capture_output=True, check=True, text=True).stdout.strip()


class Run:
    """One run of Snakemake in a process group of its own, like a command of a terminal."""

    def __init__(self, directory: Path, script: str, env: dict[str, str]) -> None:
        self._log = directory / "snakemake.out"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-euc", script],
                cwd=directory,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def tasks(self) -> list[str]:
        """The tasks that it has created."""
        return re.findall(r"^\[TES\] Task submitted: (\S+)", self.output(), re.MULTILINE)

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.killpg(self._process.pid, signal.SIGINT)

    def wait(self, seconds: float = 180) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise PeerError(f"Snakemake goes on and on:\n{self.output()[-4000:]}") from None

    def end(self) -> None:
        """End what is left of it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


StartRun = Callable[..., Run]


@dataclass(frozen=True)
class Snakemake:
    """Runs workflows in `directory`, on one server and one S3 endpoint and bucket."""

    directory: Path
    tes_url: str
    s3_url: str
    bucket: str
    image: str = "debian:12"

    def start(self, workflow: str, *options: str) -> Run:
        """Start a workflow of tests/e2e/workflows."""
        self.directory.mkdir(exist_ok=True)
        shutil.copytree(_WORKFLOWS / workflow, self.directory, dirs_exist_ok=True)
        snakefile = self.directory / "Snakefile"
        polled_soon = block("python", "init_seconds_before_status_checks")
        own = (_WORKFLOWS / workflow / "Snakefile").read_text()
        snakefile.write_text(_PATIENT + polled_soon + own)
        return Run(self.directory, self._script(options), self._env())

    def _script(self, options: tuple[str, ...]) -> str:
        """The commands of the chapter: the run, for jobs without a network, with more options."""
        run = block("sh", "--executor tes").rstrip()
        offline = block("sh", "PIP_NO_INDEX")
        variables, _, flags = offline.partition("snakemake ... ")
        often = "--seconds-between-status-checks 1"
        return " ".join([f"{variables}\n{run}", flags.strip(), often, *options])

    def _env(self) -> dict[str, str]:
        return {
            "PATH": f"{installation() / 'bin'}:{os.environ['PATH']}",
            "TES_URL": self.tes_url,
            "S3_URL": self.s3_url,
            "BUCKET": self.bucket,
            "IMAGE": self.image,
            "S3_ACCESS_KEY": "a-key",
            "S3_SECRET_KEY": "a-secret",
        }
