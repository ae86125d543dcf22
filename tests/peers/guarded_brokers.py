"""The brokers of docker/, run with the very files that the containers have."""

import dataclasses
import os
from pathlib import Path
from typing import Self

from tests.peers.rabbitmq import RabbitmqServer, program
from tests.peers.room import Room, answers, free_port

DOCKER = Path(__file__).parents[2] / "docker"
USERS = ("tesp", "pipeline", "operator", "watcher", "node", "agent")


def password_of(user: str) -> str:
    """The password that each user has here."""
    return f"of-{user}"


@dataclasses.dataclass(frozen=True)
class GuardedMosquitto:
    """docker/mosquitto on a port of its own."""

    port: int
    directory: str
    owner: int

    @classmethod
    def boot(cls, room: Room) -> Self:
        """Start it with its data in the room."""
        server = cls(free_port(), str(room.directory), room.owner)
        variables = {f"MQTT_{user.upper()}_PASSWORD": password_of(user) for user in USERS[1:]}
        told = {
            "MQTT_PASSWORD": password_of("tesp"),
            "MOSQUITTO_MADE": server.directory,
            "MOSQUITTO_DATA": server.directory,
            "MOSQUITTO_LISTENER": f"{server.port} 127.0.0.1",
            # Where root starts it: no other may look into the room.
            "MOSQUITTO_USER": "root",
            "PATH": f"{os.environ['PATH']}:/usr/sbin",
        }
        room.start("mosquitto", ["sh", DOCKER / "mosquitto" / "start"], {**variables, **told})
        room.wait_until(lambda: answers(server.port), "Mosquitto answers")
        return server


@dataclasses.dataclass(frozen=True)
class GuardedRabbitmq(RabbitmqServer):
    """docker/rabbitmq on ports of its own. With a `primary` it fetches what passes there."""

    primary: str = ""

    @classmethod
    def boot(cls, room: Room, primary: str = "") -> Self:
        """Start it with its data in the room."""
        room.directory.mkdir(parents=True, exist_ok=True)
        ports = [free_port() for _ in range(4)]
        server = cls("", *ports[:3], str(room.directory), room.owner, ports[3], 0, primary)
        server = dataclasses.replace(server, url=server.url_of("tesp"))
        (room.directory / "where.conf").write_text(
            f"load_definitions = {server.directory}/definitions\n"
            f"mqtt.listeners.tcp.1 = 127.0.0.1:{server.mqtt_port}\n"
            "vm_memory_high_watermark.absolute = 512MB\n"
            "disk_free_limit.absolute = 1MB\n"
            "log.console.level = warning\n"
        )
        server.start()
        return server

    def url_of(self, user: str) -> str:
        """For AMQP clients with the password of this user."""
        return f"amqp://{user}:{password_of(user)}@127.0.0.1:{self.port}/tesp"

    def _command(self) -> list[str | Path]:
        return ["sh", DOCKER / "rabbitmq" / "start"]

    def _environment(self) -> dict[str, str]:
        users = ("pulsar", "shovel", *USERS[1:])
        return {
            **super()._environment(),
            **{f"RABBITMQ_{user.upper()}_PASSWORD": password_of(user) for user in users},
            "RABBITMQ_PASSWORD": password_of("tesp"),
            "RABBITMQ_PRIMARY": self.primary,
            "RABBITMQ_DEFINITIONS": f"{self.directory}/definitions",
            "RABBITMQ_CONFIG_FILE": str(DOCKER / "rabbitmq" / "rabbitmq"),
            "RABBITMQ_CONFIG_FILES": f"{self.directory}/where.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(DOCKER / "rabbitmq" / "enabled_plugins"),
            "PATH": f"{program().parent}:{os.environ['PATH']}",
        }
