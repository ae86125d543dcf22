"""A real RabbitMQ of the tests' own: private node, cookie, ports and data, on 127.0.0.1 alone."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from tests.peers.certificates import Certificate
from tests.peers.room import PeerError, Room, answers, free_port, stands, wait_until

_INSTALLED = Path("/usr/lib/rabbitmq/lib")
# On loopback alone; and where there is nothing to do, it does not spin to wait for more.
_ERLANG = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
_CONFIG = """\
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 1MB
log.console.level = warning
load_definitions = {directory}/definitions.json
mqtt.listeners.tcp.1 = 127.0.0.1:{mqtt_port}
mqtt.allow_anonymous = false
listeners.ssl.1 = 127.0.0.1:{tls_port}
ssl_options.cacertfile = {directory}/certificate.pem
ssl_options.certfile = {directory}/certificate.pem
ssl_options.keyfile = {directory}/certificate.pem
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
"""
# Whom the tests know beside guest, who may do all: he may read and write on exchanges and queues
# that begin with his name, and declare no other.
NARROW, PASSWORD = "bob", "rose and crown"


@dataclasses.dataclass(frozen=True)
class RabbitmqServer:
    """`url` is for AMQP clients, `mqtt_port` for those of MQTT, `tls_port` for AMQP over TLS.

    It can be stopped and started again over the same data.
    """

    url: str
    port: int
    node_port: int
    names_port: int
    directory: str
    owner: int
    mqtt_port: int = 0
    tls_port: int = 0

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it with its data in the room."""
        port = free_port()
        url = f"amqp://guest:guest@127.0.0.1:{port}//"
        ports = (free_port(), free_port())
        more = (free_port(), free_port())
        server = cls(url, port, *ports, str(room.directory), room.owner, *more)
        Certificate.make(room.directory)
        config = _CONFIG.format(
            directory=server.directory, mqtt_port=server.mqtt_port, tls_port=server.tls_port
        )
        (room.directory / "rabbitmq.conf").write_text(config)
        (room.directory / "definitions.json").write_text(json.dumps(_definitions()))
        (room.directory / "plugins").write_text("[rabbitmq_mqtt].")
        server.start()
        return server

    @property
    def certificate(self) -> Path:
        """What it shows."""
        return Path(self.directory) / "certificate.pem"

    def start(self) -> None:
        """Start it over the data that are there, and wait until it answers."""
        # The daemon of names that it would start otherwise would outlive it.
        names = ["/usr/bin/epmd", "-port", str(self.names_port), "-address", "127.0.0.1"]
        self._room.start("epmd", names)
        # Where RabbitMQ finds none, it starts one of its own.
        self._room.wait_until(lambda: answers(self.names_port), "epmd answers")
        self._room.start("rabbitmq", self._command(), self._environment())
        for port in filter(None, (self.port, self.mqtt_port, self.tls_port)):
            self._room.wait_until(partial(answers, port), f"RabbitMQ answers on {port}")

    def stop(self) -> None:
        """End it in order."""
        self._room.end()

    def kill(self) -> None:
        """End it by SIGKILL: what it had not written is lost."""
        for pid in self._pids():
            os.kill(pid, signal.SIGKILL)
        self._room.end()

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """It is there, and says nothing."""
        pids = self._pids()
        assert pids, "RabbitMQ runs"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        # Its threads stop one after another.
        wait_until(lambda: all(map(stands, pids)), "RabbitMQ stands still")
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

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

    def _pids(self) -> list[int]:
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if process.joinpath("comm").read_text() == "beam.smp\n" and self._is_ours(process):
                    pids.append(int(process.name))
        return pids

    def _is_ours(self, process: Path) -> bool:
        return f"HOME={self.directory}\0".encode() in process.joinpath("environ").read_bytes()

    def _command(self) -> list[str | Path]:
        return [program()]

    def _environment(self) -> dict[str, str]:
        directory = self.directory
        return {
            "HOME": directory,
            "RABBITMQ_NODENAME": f"tesp-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.node_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG,
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


def _definitions() -> dict[str, list[dict[str, str]]]:
    """The virtual host, the users, and what they may do."""
    narrow = f"^{NARROW}.*"
    users = [
        {"name": "guest", "password": "guest", "tags": "administrator"},
        {"name": NARROW, "password": PASSWORD, "tags": ""},
    ]
    rights = [
        {"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"},
        {"user": NARROW, "vhost": "/", "configure": narrow, "write": narrow, "read": narrow},
    ]
    return {"vhosts": [{"name": "/"}], "users": users, "permissions": rights}


def program() -> Path:
    """Debian's wrapper insists on a user and on directories of its own; this is what it starts."""
    found = sorted(_INSTALLED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise PeerError("rabbitmq-server: no such program; `make test` installs it")
    return found[-1]
