"""A Docker engine for the stack, with bridges, names and published ports of its own.

It builds on the machine's network, and runs the stack in a network namespace where nothing but
the stack is, so that ports and rules of the machine are left alone.
"""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.peers.room import PeerError, Room

_ISOLATED = "ip link set lo up; echo 1 > /proc/sys/net/ipv4/ip_forward; exec "
_NO_NETWORK = ("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")


class Engine:
    """One engine over one directory of images, started to build or to run, not both at once."""

    def __init__(self, room: Room, images: Path) -> None:
        """`images` outlives the room: what is built is kept."""
        self._room, self._images = room, images
        self.socket = room.directory / "docker.sock"
        self.host = f"unix://{self.socket}"

    def build(self) -> None:
        """Be there for builds: they see the machine's network."""
        self._start([*self._daemon(), *_NO_NETWORK])

    def run(self) -> None:
        """Be there for containers: they see none but their own networks."""
        daemon = _ISOLATED + shlex.join(self._daemon())
        self._start(["unshare", "--net", "--mount", "sh", "-c", daemon])

    def cli(self, *args: str | Path, stdin: bytes = b"") -> str:
        """Docker's command line on this engine; gives what it said."""
        argv = ["docker", "--host", self.host, *map(str, args)]
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False)
        if done.returncode:
            raise PeerError(f"docker {args[0]}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode(errors="replace").strip()

    def inside(self, *argv: str) -> str:
        """Run a program where the published ports are; gives its output."""
        pid = self._pid_file.read_text()
        done = subprocess.run(
            ["nsenter", "--target", pid, "--net", *argv], capture_output=True, check=False
        )
        return done.stdout.decode(errors="replace")

    def _start(self, argv: Sequence[str]) -> None:
        self._room.end()
        self._pid_file.unlink(missing_ok=True)
        self._room.directory.mkdir(exist_ok=True)
        (self._room.directory / "daemon.json").write_text("{}")
        self._room.start("dockerd", list(argv))
        self._room.wait_until(self._answers, "dockerd")
        self._forget()

    def _forget(self) -> None:
        """Keep images alone: a trial that failed leaves the rest behind."""
        if left := self.cli("ps", "--all", "--quiet").split():
            self.cli("rm", "--force", "--volumes", *left)
        self.cli("volume", "prune", "--force")
        self.cli("network", "prune", "--force")

    def _answers(self) -> bool:
        try:
            return bool(self.cli("version", "--format", "{{.Server.Version}}"))
        except PeerError:
            return False

    def _daemon(self) -> list[str]:
        directory = self._room.directory
        return [
            *("dockerd", "--config-file", f"{directory}/daemon.json", "--host", self.host),
            *("--data-root", str(self._images), "--exec-root", f"{directory}/exec"),
            *("--pidfile", str(self._pid_file), "--shutdown-timeout", "5"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs"),
        ]

    @property
    def _pid_file(self) -> Path:
        return self._room.directory / "docker.pid"
