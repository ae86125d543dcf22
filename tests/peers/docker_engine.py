"""A real Docker engine of the tests' own: private socket, data and images, no bridge."""

import dataclasses
import io
import os
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Self

from tests.peers.room import PeerError, Room

DEADLINE_SECONDS = 60
IMAGE = "tesp-test/busybox:1"
_BUSYBOX = Path("/bin/busybox")
_FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}
# The kernel's overlay where it can be had; plain copies inside another container.
_STORAGE_DRIVERS = ("overlay2", "vfs")


@dataclasses.dataclass(frozen=True)
class DockerEngine:
    """`host` is for DOCKER_HOST, `image` a busybox with sh and all applets, loaded already.

    There is no bridge: run containers with `--network none` or `--network host`.
    """

    host: str
    image: str
    config: str

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start dockerd and import the image."""
        engine = cls(f"unix://{room.directory}/docker.sock", IMAGE, str(room.directory / "config"))
        Path(engine.config).mkdir()
        (room.directory / "daemon.json").write_text("{}")
        for driver in _STORAGE_DRIVERS:
            try:
                room.start(f"dockerd-{driver}", _daemon(room.directory, driver))
                room.wait_until(engine._answers, f"dockerd with {driver}")
                break
            except PeerError:
                room.end()
                if driver == _STORAGE_DRIVERS[-1]:
                    raise
        engine.load(IMAGE)
        return engine

    def cli(
        self, *args: str | Path, check: bool = True, stdin: bytes | None = None, config: str = ""
    ) -> str:
        """Run the docker command line on this engine; gives standard output, stripped."""
        done = subprocess.run(
            [_program("docker"), "--config", config or self.config, "--host", self.host, *args],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            check=False,
        )
        if check and done.returncode:
            said = done.stderr.decode(errors="replace")
            raise AssertionError(f"docker {args[0]} ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace").strip()

    def containers(self) -> list[str]:
        """The names of all containers, running or not."""
        return self.cli("ps", "--all", "--format", "{{.Names}}").split()

    def await_event(self, event: str, container: str) -> None:
        """Wait until the engine has told an event of a container; one long ago will do."""
        span = ["--since=0", f"--until={time.time() + DEADLINE_SECONDS:.0f}"]
        asked = [*span, f"--filter=event={event}", f"--filter=container={container}"]
        argv = [_program("docker"), "--host", self.host, "events", *asked]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as told:
            assert told.stdout is not None
            line = told.stdout.readline()
            told.terminate()
        assert line, f"the engine told no {event} of {container} in {DEADLINE_SECONDS} seconds"

    def load(self, name: str) -> str:
        """Import the busybox image under another name; gives the name."""
        self.cli("import", "--change", 'CMD ["/bin/sh"]', "-", name, stdin=busybox_image())
        return name

    def _answers(self) -> bool:
        return bool(self.cli("version", "--format", "{{.Server.Version}}", check=False))


def busybox_image() -> bytes:
    """A tar of the root directory: busybox, a link for each applet, /tmp, /etc/passwd."""
    out = io.BytesIO()
    applets = subprocess.run(
        [_BUSYBOX, "--list-full"], capture_output=True, check=True, text=True
    ).stdout.split()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, mode in (("tmp", 0o1777), ("root", 0o700), ("var/tmp", 0o1777)):
            tar.addfile(_entry(path, tarfile.DIRTYPE, mode))
        for path, content in _FILES.items():
            tar.addfile(_entry(path, size=len(content), mode=0o644), io.BytesIO(content))
        binary = _BUSYBOX.read_bytes()
        tar.addfile(_entry("bin/busybox", size=len(binary), mode=0o755), io.BytesIO(binary))
        for path in applets:
            if path != "bin/busybox":
                tar.addfile(_entry(path, tarfile.SYMTYPE, link="/bin/busybox"))
    return out.getvalue()


def _entry(
    path: str, kind: bytes = tarfile.REGTYPE, mode: int = 0o777, size: int = 0, link: str = ""
) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, size, link
    return entry


def _daemon(directory: Path, driver: str) -> list[str | Path]:
    return [
        *(_program("dockerd"), "--config-file", directory / "daemon.json"),
        *("--host", f"unix://{directory}/docker.sock"),
        *("--data-root", directory / "data", "--exec-root", directory / "exec"),
        *("--pidfile", directory / "docker.pid", "--storage-driver", driver),
        *("--iptables=false", "--ip6tables=false", "--ip-forward=false", "--bridge=none"),
        *("--exec-opt", "native.cgroupdriver=cgroupfs", "--shutdown-timeout", "3"),
    ]


def _program(name: str) -> str:
    """The program's path; the daemon's directory is often not on a user's PATH."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise PeerError(f"{name}: no such program; `make test` installs it")
    return found
