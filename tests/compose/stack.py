"""The stack as an operator has it: his commands, his variables, a task by curl."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.compose import images
from tests.compose.engine import Engine
from tests.peers.room import PeerError, wait_until

ROOT = Path(__file__).parents[2]
STAND_INS = Path(__file__).with_name("stand-ins.yaml")
MTU = "1442"
PASSWORD = "a-password"
_TERMINAL = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED")
_START_SECONDS = 180.0


class Stack:
    """One compose file, or several, as one project on one engine."""

    def __init__(
        self, engine: Engine, room: Path, name: str, files: Sequence[Path], **variables: str
    ) -> None:
        """`variables` are what a person writes into .env."""
        self._engine, self._room, self._name, self._paths = engine, room, name, files
        self._files = [part for file in files for part in ("-f", str(file))]
        self._given = variables
        self._variables = {**_variables(engine, room), **variables}
        self.data = Path(self._variables["TESP_DATA"])

    def told(self, **variables: str) -> "Stack":
        """The same with other variables."""
        return Stack(self._engine, self._room, self._name, self._paths, **self._given | variables)

    def compose(self, *args: str, profiles: Sequence[str] = ()) -> str:
        """One command of compose; gives what it said."""
        chosen = [part for profile in profiles for part in ("--profile", profile)]
        argv = [*compose(), *self._files, "-p", self._name, *chosen, *args]
        environ = {**os.environ, **self._variables}
        done = subprocess.run(
            argv, cwd=ROOT, env=environ, capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise PeerError(f"{' '.join(argv)}: {done.stdout[-4000:]}{done.stderr[-4000:]}")
        return done.stdout

    def up(self, *profiles: str) -> None:
        """Start it, and wait until every container says that it is healthy."""
        self.compose("up", "-d", "--no-build", profiles=profiles)
        try:
            wait_until(self._is_healthy, f"{self._name} is healthy", _START_SECONDS)
        except PeerError as error:
            logs = self.compose("logs", "--tail", "50", profiles=profiles)
            raise PeerError(f"{error}: {self._health()}\n{logs}") from None

    def down(self, *profiles: str) -> None:
        """End it, and keep nothing."""
        self.compose("down", "--volumes", profiles=profiles)

    def logs(self, service: str, *profiles: str) -> str:
        """What one service printed."""
        return self.compose("logs", service, profiles=profiles)

    def container(self, service: str, *profiles: str) -> str:
        """The container of a service."""
        return self.compose("ps", "--quiet", service, profiles=profiles).strip()

    def _is_healthy(self) -> bool:
        states = self._health().split()
        return bool(states) and all(state == "healthy" for state in states)

    def _health(self) -> str:
        label = f"label=com.docker.compose.project={self._name}"
        ids = self._engine.cli("ps", "--all", "--quiet", "--filter", label).split()
        look = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}"
        return self._engine.cli("inspect", "--format", look, *ids) if ids else ""


def curl(engine: Engine, *args: str) -> str:
    """curl, where the stack's ports are published."""
    return engine.inside("curl", "--silent", "--show-error", "--max-time", "30", *args)


def run_task(engine: Engine, task: Mapping[str, Any], port: int = 8080) -> dict[str, Any]:
    """Create a task by curl and wait for its end; the FULL task, which must be COMPLETE."""
    url = f"http://127.0.0.1:{port}/ga4gh/tes/v1/tasks"
    kind = "Content-Type: application/json"
    created = curl(engine, url, "--header", kind, "--data", json.dumps(task))
    url = f"{url}/{json.loads(created)['id']}"

    def state() -> str:
        return str(json.loads(curl(engine, url))["state"])

    wait_until(lambda: state() in _TERMINAL, f"{url} ends", 120)
    ended: dict[str, Any] = json.loads(curl(engine, f"{url}?view=FULL"))
    if ended["state"] != "COMPLETE":
        raise PeerError(json.dumps(ended, indent=1))
    return ended


def compose() -> list[str]:
    """The compose of this machine: the plugin, or the older program."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise PeerError("docker-compose: no such program; as root: apt-get install docker-compose")


def _variables(engine: Engine, room: Path) -> dict[str, str]:
    return {
        "DOCKER_HOST": engine.host,
        "DOCKER_SOCKET": str(engine.socket),
        # The older builder: the plugin of the newer one is not everywhere.
        "COMPOSE_DOCKER_CLI_BUILD": "0",
        "DOCKER_BUILDKIT": "0",
        "BUILD_NETWORK": "host",
        "BASE_IMAGE": images.BASE,
        "DOCKER_CLI_IMAGE": images.DOCKER_CLI,
        "MONGO_IMAGE": images.STAND_INS["mongodb"],
        "RABBITMQ_IMAGE": images.STAND_INS["rabbitmq"],
        "MOSQUITTO_IMAGE": images.STAND_INS["mosquitto"],
        "TESP_DATA": str(room / "data"),
        "TESP_MTU": MTU,
        "MQTT_PASSWORD": PASSWORD,
        "MQTT_PIPELINE_PASSWORD": PASSWORD,
        "MQTT_WATCHER_PASSWORD": PASSWORD,
        "PULSAR_TOKEN": PASSWORD,
        "RABBITMQ_PASSWORD": PASSWORD,
        "RABBITMQ_PULSAR_PASSWORD": f"{PASSWORD}-2",
    }
