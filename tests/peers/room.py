"""A room: one peer's directory, its logs and its processes; SharedPeers: one room a session."""

import contextlib
import dataclasses
import fcntl
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

# For what always comes about, on a machine that has much else to do.
LONG_SECONDS = 180.0
_GUARDIAN = Path(__file__).with_name("guardian.py")
_LOG_TAIL_BYTES = 4000
_PORTS_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST_PORT = 10_000
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.2


class PeerError(AssertionError):
    """A peer did not start; the message ends with the tails of its logs."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on; nor is it one of those that the system gives to
    outgoing connections, or another worker of the tests draws, so that none of them can take it
    before it is listened on. None comes twice before all of the worker's have come."""
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def _ports() -> Iterator[int]:
    """For ever those of this worker, from somewhere among them on."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    beginning = int(_PORTS_OF_CONNECTIONS.read_text().split()[0])
    share = (beginning - _FIRST_PORT) // workers
    # One that takes the place of a worker that died has a number of its own.
    first = _FIRST_PORT + worker % workers * share
    for number in itertools.count(secrets.randbelow(share)):
        yield first + number % share


_PORTS = _ports()


def answers(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_until(ready: Callable[[], object], what: str, seconds: float = LONG_SECONDS) -> None:
    """Poll until `ready()` holds; raises PeerError that names `what` at the deadline."""
    began = time.monotonic()
    while not ready():
        waited = time.monotonic() - began
        if waited > seconds:
            raise PeerError(f"{what}: not so after {seconds:g} s")
        # Who looks often takes the processor from what he waits for.
        time.sleep(min(_LONGEST_PAUSE_SECONDS, _SHORTEST_PAUSE_SECONDS + waited / 10))


@dataclasses.dataclass(frozen=True)
class Room:
    """Where one peer lives. Its processes end with `end()`, or when `owner` (a pid) is gone."""

    directory: Path
    owner: int

    @classmethod
    @contextlib.contextmanager
    def temporary(cls) -> Iterator[Self]:
        """A room for one test: on the way out its processes end and its directory goes."""
        room = cls(Path(tempfile.mkdtemp(prefix="tesp-peer-")), os.getpid())
        try:
            yield room
        finally:
            room.end()
            shutil.rmtree(room.directory, ignore_errors=True)

    def start(self, name: str, argv: list[str | Path], env: Mapping[str, str] | None = None) -> int:
        """Start a program in this room; its output goes to `{name}.log`. Gives the pid to end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        guarded = [sys.executable, _GUARDIAN, self.owner, self.log(name), *argv]
        process = subprocess.Popen(
            [str(a) for a in guarded],
            stdin=subprocess.DEVNULL,
            cwd=self.directory,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
        with (self.directory / "processes").open("a") as listed:
            listed.write(f"{process.pid} {_started_at(process.pid)}\n")
        # Ended by its pid, perhaps by another process: nothing here has to wait for it.
        process.returncode = 0
        return process.pid

    def log(self, name: str) -> Path:
        """The file with what the program `name` printed."""
        return self.directory / f"{name}.log"

    def wait_until(
        self, ready: Callable[[], object], what: str, seconds: float = LONG_SECONDS
    ) -> None:
        """Poll until `ready()` holds; where a process ends before that, say so with the logs."""

        def ready_or_dead() -> bool:
            if not all(_alive(*process) for process in self._processes()):
                raise PeerError(f"{what}: a process ended")
            return bool(ready())

        try:
            wait_until(ready_or_dead, what, seconds)
        except PeerError as error:
            raise PeerError(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        """The tails of all logs in the room."""
        tails = []
        for log in sorted(self.directory.glob("*.log")):
            text = log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            tails.append(f"--- {log.name}\n{text}")
        return "\n".join(tails)

    def end(self, seconds: float = 60.0) -> None:
        """End what was started here, by pid, wait until it is gone, and leave no mount."""
        for pid, started in self._processes():
            if _alive(pid, started):
                os.kill(pid, signal.SIGTERM)
        self.wait_until_ended(seconds)
        _unmount(self.directory)
        (self.directory / "processes").unlink(missing_ok=True)

    def wait_until_ended(self, seconds: float = 30.0) -> None:
        """Wait until every process of this room is gone."""
        processes = self._processes()
        wait_until(
            lambda: not any(_alive(*p) for p in processes), f"{self.directory.name} ended", seconds
        )

    def _processes(self) -> list[tuple[int, str]]:
        listed = self.directory / "processes"
        rows = listed.read_text().splitlines() if listed.exists() else []
        return [(int(pid), started) for pid, started in (row.split() for row in rows)]


def _started_at(pid: int) -> str:
    """The start time of a process in ticks: with the pid it names a process for good."""
    return _stat(pid)[19]


def _alive(pid: int, started: str) -> bool:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = _stat(pid)
        return fields[19] == started and fields[0] != "Z"
    return False


def stands(pid: int) -> bool:
    """Whether every thread of a process is stopped, or has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
        return all(stat.rpartition(")")[2].split()[0] in "TZX" for stat in stats)
    return not Path(f"/proc/{pid}").exists()


def _unmount(directory: Path) -> None:
    """Take away the mounts below: an engine leaves the network namespace of its host there."""
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((p for p in places if p.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", place], check=True)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the program's name, the state first."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class Peer(Protocol):
    """A booted peer: a dataclass of facts that another process can make again from JSON."""

    __dataclass_fields__: Any

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it in the room and wait until it answers."""


P = TypeVar("P", bound=Peer)


@dataclasses.dataclass(frozen=True)
class SharedPeers:
    """Peers that all workers of one test run share: the first that asks boots, under a lock."""

    directory: Path
    owner: int

    def get(self, name: str, kind: type[P]) -> P:
        """The peer of this name, booted where no worker has yet."""
        room = Room(self.directory / name, self.owner)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        room.directory.mkdir(exist_ok=True)
        facts = room.directory / "facts.json"
        with (room.directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not facts.exists():
                facts.write_text(json.dumps(_boot(room, kind)))
        known = json.loads(facts.read_text())
        if "error" in known:
            raise PeerError(known["error"])
        return kind(**known)

    def end(self) -> None:
        """End every peer, then take its directory away."""
        for room in self.directory.glob("*/"):
            Room(room, self.owner).end()
        shutil.rmtree(self.directory, ignore_errors=True)


def _boot(room: Room, kind: type[Peer]) -> dict[str, Any]:
    try:
        return dataclasses.asdict(kind.boot(room))  # type: ignore[call-overload,no-any-return]
    except (OSError, subprocess.CalledProcessError, PeerError) as error:
        room.end()
        detail = getattr(error, "stderr", None) or ""
        return {"error": f"{room.directory.name} did not start: {error}\n{detail}"}
