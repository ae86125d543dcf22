"""`tesp bus ...` as processes, and what they say on the bus."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.peers.mosquitto import MosquittoServer
from tests.peers.room import wait_until

PROGRAM = Path(sys.executable).with_name("tesp")
FINISHED = '{"status": "finished"}'


class BusProgram:
    """A `tesp bus ...` that runs on; its output and its log are files in `directory`."""

    group = "bus"

    def __init__(self, directory: Path, *args: str | Path, **environ: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._out, self._log = directory / "out", directory / "log"
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [PROGRAM, self.group, *args],
                cwd=directory,
                env={**os.environ, "HOME": str(directory), **environ},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """What it said on standard error so far."""
        return self._log.read_text()

    @property
    def output(self) -> str:
        """What it said on standard output so far."""
        return self._out.read_text()

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Until it has said so, so often."""
        wait_until(lambda: self.log.count(text) >= count or self._has_ended(), f"says {text}")
        assert self.log.count(text) >= count, self.log

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


@contextmanager
def bus_program(directory: Path, *args: str | Path, **environ: str) -> Iterator[BusProgram]:
    """One, for as long as it is needed."""
    program = BusProgram(directory, *args, **environ)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait()


def bus(
    directory: Path, *args: str | Path, told: str = "", **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run one to its end, at home in the directory; `told` is its standard input."""
    directory.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [PROGRAM, "bus", *args],
        cwd=directory,
        env={**os.environ, "HOME": str(directory), **environ},
        input=told,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def said(lines: list[str]) -> list[dict[str, Any]]:
    """The payloads of what mosquitto_sub saw."""
    payloads: list[dict[str, Any]] = [json.loads(line.partition(" ")[2]) for line in lines]
    return payloads


def own(payload: dict[str, Any]) -> dict[str, Any]:
    """Without what is different each time."""
    changing = ("ts", "message_id", "correlation_id", "time_elapsed")
    return {k: v for k, v in payload.items() if k not in changing}


@contextmanager
def listener(
    mosquitto: MosquittoServer,
    directory: Path,
    prefix: str,
    command: str,
    *more: str,
    topic: str | None = None,
    who: str = "next",
    **environ: str,
) -> Iterator[BusProgram]:
    """`tesp bus listen`, when it listens."""
    told = ["-t", topic or f"{prefix}/elan/status", "-c", command, "--who", who]
    place = ["--host", mosquitto.url, "--mqtt-env", prefix]
    with bus_program(directory / who, "listen", *told, *place, *more, **environ) as program:
        program.wait_for_log("Listens to", 2)
        yield program


def status_of(prefix: str, who: str = "next") -> str:
    """Where it announces."""
    return f"{prefix}/infrastructure/pipelines/{who}/status"
