"""A real RabbitMQ of the tests' own: private node, cookie, ports and data, on 127.0.0.1 alone."""

import asyncio
import contextlib
import dataclasses
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from tests.peers.room import PeerError, Room, answers, free_port

_INSTALLED = Path("/usr/lib/rabbitmq/lib")
_CONFIG = """\
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 1MB
log.console.level = warning
"""


@dataclasses.dataclass(frozen=True)
class RabbitmqServer:
    """`url` is for AMQP clients. It can be stopped and started again over the same data."""

    url: str
    port: int
    node_port: int
    names_port: int
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it with its data in the room."""
        port = free_port()
        url = f"amqp://guest:guest@127.0.0.1:{port}//"
        server = cls(url, port, free_port(), free_port(), str(room.directory), room.owner)
        (room.directory / "rabbitmq.conf").write_text(_CONFIG)
        (room.directory / "plugins").write_text("[].")
        server.start()
        return server

    def start(self) -> None:
        """Start it over the data that are there, and wait until it answers."""
        # The daemon of names that it would start otherwise would outlive it.
        names = ["/usr/bin/epmd", "-port", str(self.names_port), "-address", "127.0.0.1"]
        self._room.start("epmd", names)
        self._room.start("rabbitmq", [_program()], self._environment())
        self._room.wait_until(lambda: answers(self.port), "RabbitMQ answers")

    def stop(self) -> None:
        """End it in order."""
        self._room.end()

    def kill(self) -> None:
        """End it by SIGKILL: what it had not written is lost."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if process.joinpath("comm").read_text() == "beam.smp\n" and self._is_ours(process):
                    os.kill(int(process.name), signal.SIGKILL)
        self._room.end()

    def consumers(self, queue: str) -> int:
        """How many listen to a queue; 0 too where there is none, or no broker."""
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, self._consumers(queue)).result()

    async def _consumers(self, queue: str) -> int:
        try:
            async with await aio_pika.connect(self.url) as connection:
                declared = await (await connection.channel()).declare_queue(queue, passive=True)
                return declared.declaration_result.consumer_count or 0
        except CONNECTION_EXCEPTIONS:
            return 0

    @property
    def _room(self) -> Room:
        return Room(Path(self.directory), self.owner)

    def _is_ours(self, process: Path) -> bool:
        return f"HOME={self.directory}\0".encode() in process.joinpath("environ").read_bytes()

    def _environment(self) -> dict[str, str]:
        directory = self.directory
        return {
            "HOME": directory,
            "RABBITMQ_NODENAME": f"tesp-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self.names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{directory}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/no-such-file",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{directory}/generated",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/plugins",
            "RABBITMQ_PID_FILE": f"{directory}/pid",
            # One process, which takes SIGTERM itself, and no shell before it.
            "RUNNING_UNDER_SYSTEMD": "1",
        }


def _program() -> Path:
    """Debian's wrapper insists on a user and on directories of its own; this is what it starts."""
    found = sorted(_INSTALLED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise PeerError("rabbitmq-server: no such program; `make test` installs it")
    return found[-1]
