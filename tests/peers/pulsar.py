"""A real Pulsar of the tests' own, from its package: its staging directory, its jobs, its port."""

import contextlib
import dataclasses
import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.peers.environments import program
from tests.peers.room import Room, answers, free_port, wait_until

ENVIRONMENT = "pulsar"
TOKEN = "a-private-token"
_MANAGER = {"type": "queued_python", "num_concurrent_jobs": 16, "min_polling_interval": 0.05}
_SERVER = """\
[server:main]
host = 127.0.0.1
port = {port}

[app:main]
app_config = %(here)s/app.yml
"""


@dataclasses.dataclass(frozen=True)
class PulsarServer:
    """`url` and `token` are for REST. It can be stopped or killed, and started again over the
    same directories; jobs that run then go on by themselves."""

    port: int
    token: str
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start one with a manager `_default_`."""
        return cls.made(room).started()

    @classmethod
    def made(cls, room: Room, **app: Any) -> Self:
        """Set one up, with these keys of app.yml beside or instead of the usual ones."""
        server = cls(free_port(), TOKEN, str(room.directory), room.owner)
        server.staging.mkdir(parents=True)
        server.configure(**app)
        (room.directory / "server.ini").write_text(_SERVER.format(port=server.port))
        return server

    def configure(self, **app: Any) -> None:
        """Write app.yml anew; its next start reads it."""
        usual: dict[str, Any] = {
            "staging_directory": str(self.staging),
            "persistence_directory": f"{self.directory}/persisted",
            "private_token": self.token,
            "managers": {"_default_": _MANAGER},
        }
        # What is JSON is YAML too.
        (Path(self.directory) / "app.yml").write_text(json.dumps(usual | app))

    @property
    def url(self) -> str:
        """Where its REST interface is."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def staging(self) -> Path:
        """The directories of its jobs."""
        return Path(self.directory) / "staging"

    def workspace(self, place: str) -> Path:
        """The workspace of a job, by its place."""
        return self.staging / place.rpartition("/")[2] / "metadata" / "tesp"

    def jobs(self) -> list[str]:
        """The jobs whose directories are there."""
        return sorted(p.name for p in self.staging.iterdir())

    def started(self) -> Self:
        """Start it over the directories that are there, and wait until it answers."""
        ini = Path(self.directory) / "server.ini"
        self._room.start(
            "pulsar",
            [program(ENVIRONMENT, "pulsar-serve"), ini],
            # Its server keeps a socket in the home directory.
            {"PULSAR_CONFIG_DIR": self.directory, "HOME": self.directory},
        )
        self._room.wait_until(self._answers, "Pulsar answers")
        return self

    def _answers(self) -> bool:
        """Whether its worker is there: the port is open long before."""
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=5):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False

    def is_up(self) -> bool:
        """Whether it answers."""
        return answers(self.port)

    def stop(self) -> None:
        """End it in order."""
        self._room.end()

    def kill(self) -> None:
        """End it by SIGKILL, like a machine's."""
        for process in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._room.end()
        wait_until(lambda: not self._processes(), "Pulsar is gone")

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it answer nothing for as long as the context lasts."""
        processes = self._processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    def log(self) -> str:
        """What it printed."""
        return self._room.log("pulsar").read_text(errors="replace")

    @property
    def _room(self) -> Room:
        return Room(Path(self.directory), self.owner)

    def _processes(self) -> list[int]:
        """Its own processes, by what they were started with; jobs have another environment."""
        mark = f"PULSAR_CONFIG_DIR={self.directory}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes()
                ours = mark in (process / "environ").read_bytes().split(b"\0")
                if ours and b"guardian.py" not in words:
                    found.append(int(process.name))
        return found
