"""Where tasks can run: each a backend with the settings that make a server use it."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.peers.pulsar import PulsarServer
from tests.peers.room import wait_until
from tests.peers.tesp_server import TespServer

Settings = dict[str, Any]
SLOTS = 4
# The directories of small jobs that remove others go with the next ones.
_TASK = re.compile(r"[0-9a-z]{26}-\d+\.\d+$")


@dataclass
class Site:
    """One backend, below one directory. `settings` of a server that uses it, for so many slots;
    `places` lists the directories of jobs there."""

    name: str
    directory: Path
    settings: Callable[[int], Settings]
    places: Callable[[], list[str]]
    _servers: list[TespServer] = field(default_factory=list)

    @property
    def files(self) -> Path:
        """What file:// URLs may reach."""
        return self.directory / "files"

    def start(self, slots: int = SLOTS, **more: Any) -> TespServer:
        """A server whose tasks run here."""
        self.files.mkdir(exist_ok=True)
        settings = {
            "staging": {"files": [{"path": self.files}]},
            "dispatch": {"lease_seconds": 2.0},
            **self.settings(slots),
            **more,
        }
        directory = self.directory / f"server-{len(self._servers)}"
        self._servers.append(TespServer(directory, settings))
        return self._servers[-1].start()

    def wait_until_clean(self) -> None:
        """What is removed a while after a task's end is gone."""
        wait_until(lambda: not self.places(), f"{self.name} is clean: {self.places()}")

    @contextmanager
    def ended(self) -> Iterator["Site"]:
        """On the way out its servers end."""
        try:
            yield self
        finally:
            for server in self._servers:
                server.kill()


def local_site(directory: Path) -> Site:
    """The machine itself."""

    def places() -> list[str]:
        return sorted(p.name for p in directory.glob("server-*/data/work/*"))

    def settings(slots: int) -> Settings:
        return {"local": {"slots": slots, "runtime": "sandbox", "machine_id": "test-machine"}}

    return Site("local", directory, settings, places)


def pulsar_site(name: str, directory: Path, pulsar: PulsarServer, **keys: Any) -> Site:
    """A Pulsar, reached as the keys of its settings say."""

    def settings(slots: int) -> Settings:
        pulsar_settings = {"name": "p", "runtime": "sandbox", "limits": {"tasks": slots}, **keys}
        return {"pulsars": [pulsar_settings]}

    def places() -> list[str]:
        return [job for job in pulsar.jobs() if _TASK.match(job)]

    return Site(name, directory, settings, places)
