"""A server of MongoDB's wire protocol over WiredTiger, as a process of its own."""

import dataclasses
from pathlib import Path
from typing import Self

from tests.peers.environments import program
from tests.peers.room import Room, answers, free_port


@dataclasses.dataclass(frozen=True)
class MongodbServer:
    """One node that calls itself the primary of a replica set; loses nothing with `j: true`."""

    uri: str

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it with its data in the room."""
        port = free_port()
        (room.directory / "secantusd.toml").touch()
        argv: list[str | Path] = [
            *(program("mongodb", "secantusd-py"), "--config", room.directory / "secantusd.toml"),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--storage-path", room.directory / "data", "--log-level", "WARNING"),
        ]
        room.start("secantusd", argv)
        room.wait_until(lambda: answers(port), "secantusd answers")
        return cls(f"mongodb://127.0.0.1:{port}")
