"""A real Comet of the tests' own: the broker of VOEvents, and its sender."""

import asyncio
import base64
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.peers.environments import program
from tests.peers.room import Room, answers, free_port

_LOCAL = "127.0.0.1/32"


@dataclasses.dataclass(frozen=True)
class Comet:
    """It takes events on `receive_port`, gives them to those who subscribe on `broadcast_port`,
    and saves them in `saved`. With a remote port, it subscribes there too."""

    receive_port: int
    broadcast_port: int
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room, remote_port: int | None = None) -> Self:
        """Start it in the room."""
        comet = cls(free_port(), free_port(), str(room.directory), room.owner)
        comet.start(remote_port)
        return comet

    def start(self, remote_port: int | None = None) -> None:
        """Start it over the data that are there, and wait until it answers."""
        remote = [f"--remote=127.0.0.1:{remote_port}"] if remote_port else []
        argv = [
            program("comet", "twistd"),
            *("--nodaemon", f"--pidfile={self.directory}/twistd.pid", "comet", "--verbose"),
            *("--receive", f"--receive-port={self.receive_port}"),
            *("--broadcast", f"--broadcast-port={self.broadcast_port}"),
            # It listens everywhere, and lets nobody in but from here.
            *("--broadcast-test-interval=0", f"--author-whitelist={_LOCAL}"),
            *(f"--subscriber-whitelist={_LOCAL}", "--local-ivo=ivo://org.comet/test"),
            *("--save-event", f"--save-event-directory={self.saved}"),
            *(f"--eventdb={self.directory}/events", *remote),
        ]
        room = Room(Path(self.directory), self.owner)
        room.start("comet", argv)
        room.wait_until(lambda: answers(self.receive_port), "Comet takes events")
        room.wait_until(lambda: answers(self.broadcast_port), "Comet gives events")

    def stop(self) -> None:
        """End it in order."""
        Room(Path(self.directory), self.owner).end()

    @property
    def saved(self) -> Path:
        """The directory with a file for each event."""
        return Path(self.directory) / "saved"

    @property
    def log(self) -> str:
        """What it has said."""
        return Room(Path(self.directory), self.owner).log("comet").read_text()


async def send(port: int, file: Path) -> tuple[bool, str]:
    """Submit an event by Comet's own sender: whether it was taken, and what the sender said."""
    python, sender = program("comet", "python"), program("comet", "comet-sendvo")
    argv = (python, sender, "--host=127.0.0.1", f"--port={port}", "-f", file)
    process = await asyncio.create_subprocess_exec(
        *map(str, argv), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    return process.returncode == 0, said.decode()


async def judge(documents: Sequence[bytes]) -> list[bool]:
    """Which of them are VOEvents by the schema that Comet has."""
    judging = (
        "import base64, os, sys, comet; from lxml import etree; "
        "path = os.path.join(comet.__path__[0], 'schema/VOEvent-v2.0.xsd'); "
        "schema = etree.XMLSchema(etree.parse(path)); "
        "print(*(int(schema.validate(etree.fromstring(base64.b64decode(one)))) for one in"
        " sys.stdin))"
    )
    process = await asyncio.create_subprocess_exec(
        *(program("comet", "python"), "-c", judging),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    lines = b"".join(base64.b64encode(one) + b"\n" for one in documents)
    said, _ = await process.communicate(lines)
    return [word == b"1" for word in said.split()]
