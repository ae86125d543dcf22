"""A real Mosquitto of the tests' own on 127.0.0.1, and its programs for the other end."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

from tests.peers.certificates import Certificate
from tests.peers.room import LONG_SECONDS, PeerError, Room, answers, free_port

USER, PASSWORD = "alice", "rose and crown"
NARROW = "bob"
# What is a message, among the lines that tell of the connection.
_MARK = "message on "

_CONFIG = """\
persistence true
persistence_location {directory}/
autosave_interval 1
autosave_on_changes true
max_queued_messages 0
max_packet_size 2000000
log_dest stderr
user root
per_listener_settings true

listener {port} 127.0.0.1
allow_anonymous true

listener {guarded_port} 127.0.0.1
password_file {directory}/passwords
acl_file {directory}/permissions

listener {tls_port} 127.0.0.1
allow_anonymous true
certfile {directory}/certificate.pem
keyfile {directory}/certificate.pem
"""
# `alice` may do all, `bob` may write and read below bob/ alone.
_PERMISSIONS = f"user {USER}\ntopic readwrite #\n\nuser {NARROW}\ntopic readwrite bob/#\n"


@dataclasses.dataclass(frozen=True)
class MosquittoServer:
    """`port` is open to all; `guarded_port` asks for a password; `tls_port` speaks TLS. It can be
    stopped and started again over the same data."""

    port: int
    guarded_port: int
    tls_port: int
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it with its data in the room."""
        room.directory.mkdir(parents=True, exist_ok=True)
        server = cls(free_port(), free_port(), free_port(), str(room.directory), room.owner)
        Certificate.make(room.directory)
        (room.directory / "permissions").write_text(_PERMISSIONS)
        passwords = room.directory / "passwords"
        passwords.write_text(f"{USER}:{PASSWORD}\n{NARROW}:{PASSWORD}\n")
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
        (room.directory / "mosquitto.conf").write_text(
            _CONFIG.format(
                directory=server.directory,
                port=server.port,
                guarded_port=server.guarded_port,
                tls_port=server.tls_port,
            )
        )
        server.start()
        return server

    @property
    def url(self) -> str:
        """For everybody."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def guarded_url(self) -> str:
        """For those with a password."""
        return f"mqtt://127.0.0.1:{self.guarded_port}"

    @property
    def tls_url(self) -> str:
        """For those who trust `certificate`."""
        return f"mqtts://127.0.0.1:{self.tls_port}"

    @property
    def certificate(self) -> Path:
        """What it shows."""
        return Path(self.directory) / "certificate.pem"

    def start(self) -> None:
        """Start it over the data that are there, and wait until it answers."""
        program: list[str | Path] = ["mosquitto", "-c", f"{self.directory}/mosquitto.conf"]
        if not Path("/usr/sbin/mosquitto").exists():
            raise PeerError("mosquitto: no such program; `make test` installs it")
        self._room.start("mosquitto", program, {"PATH": f"{os.environ['PATH']}:/usr/sbin"})
        for port in (self.port, self.guarded_port, self.tls_port):
            self._room.wait_until(partial(answers, port), f"Mosquitto answers on {port}")

    def stop(self) -> None:
        """End it in order."""
        self._room.end()

    def kill(self) -> None:
        """End it by SIGKILL: what it had not written is lost."""
        os.kill(self._pid(), signal.SIGKILL)
        self._room.end()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """It is there, and says nothing."""
        pid = self._pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def send(self, topic: str, body: str | bytes, *options: str) -> None:
        """By mosquitto_pub."""
        data = body.encode() if isinstance(body, str) else body
        source = "-s" if data else "-n"
        subprocess.run(
            [*self._client("mosquitto_pub"), "-t", topic, "-q", "1", source, *options],
            input=data,
            check=True,
            capture_output=True,
            timeout=30,
        )

    def send_all(self, topic: str, *bodies: str) -> None:
        """By one mosquitto_pub, one right after the other."""
        subprocess.run(
            [*self._client("mosquitto_pub"), "-t", topic, "-q", "1", "-l"],
            input="\n".join(bodies),
            text=True,
            check=True,
            timeout=30,
        )

    @contextlib.contextmanager
    def listening(self, pattern: str, count: int, *options: str) -> Iterator["Listening"]:
        """mosquitto_sub, until it has so many messages."""
        # Line by line, and not when a block of them is full.
        argv = [
            "stdbuf",
            "-oL",
            *self._client("mosquitto_sub"),
            "-t",
            pattern,
            "-q",
            "1",
            "-C",
            str(count),
            "-d",
        ]
        with subprocess.Popen(
            [*argv, "-F", f"{_MARK}%t %p", *options], stdout=subprocess.PIPE, text=True
        ) as process:
            listening = Listening(process)
            try:
                listening.wait_until_subscribed()
                yield listening
            finally:
                process.kill()

    def _client(self, program: str) -> list[str]:
        return [program, "-h", "127.0.0.1", "-p", str(self.port)]

    @property
    def _room(self) -> Room:
        return Room(Path(self.directory), self.owner)

    def _pid(self) -> int:
        config = f"{self.directory}/mosquitto.conf".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                argv = process.joinpath("cmdline").read_bytes().split(b"\0")
                if argv[0] == b"mosquitto" and config in argv:
                    return int(process.name)
        raise PeerError("Mosquitto does not run")


@dataclasses.dataclass(frozen=True)
class Listening:
    """A mosquitto_sub that runs."""

    process: "subprocess.Popen[str]"

    def wait_until_subscribed(self) -> None:
        """It says so, for it is told to debug."""
        assert self.process.stdout
        for line in self.process.stdout:
            if "SUBACK" in line:
                return
        raise PeerError("mosquitto_sub did not subscribe")

    def lines(self) -> list[str]:
        """`topic body` of each message, when it has all; those that came, where others did not."""
        assert self.process.stdout
        giving_up = threading.Timer(LONG_SECONDS, self.process.kill)
        giving_up.start()
        try:
            return [
                line.removeprefix(_MARK).rstrip("\n")
                for line in self.process.stdout
                if line.startswith(_MARK)
            ]
        finally:
            giving_up.cancel()
