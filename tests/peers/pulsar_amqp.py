"""Real Pulsars that take jobs over AMQP: alone, or beside REST."""

import dataclasses
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from tests.peers.environments import program
from tests.peers.pulsar import ENVIRONMENT, PulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, answers, wait_until

_AMQP_INI = """\
[app:main]
paste.app_factory = pulsar.web.wsgi:app_factory
app_config = %(here)s/app.yml
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = INFO
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
[formatter_generic]
format = %(asctime)s %(levelname)s [%(name)s] %(message)s
"""


@dataclasses.dataclass(frozen=True)
class AmqpPulsarServer(PulsarServer):
    """Takes jobs for `manager`, whose name, and so whose queues, nobody else has."""

    broker: RabbitmqServer
    manager: str
    hybrid: bool

    @classmethod
    def over(
        cls,
        room: Room,
        broker: RabbitmqServer,
        *,
        hybrid: bool = False,
        beside: Mapping[str, Any] = MappingProxyType({}),
        **app: Any,
    ) -> Self:
        """Set one up and start it, with these keys of app.yml beside or instead of the usual, and
        with these managers `beside` its own, whose name they begin with."""
        manager = f"m{uuid.uuid4().hex[:8]}"
        kind = {"type": "queued_python", "num_concurrent_jobs": 16, "min_polling_interval": 0.05}
        usual = {
            "message_queue_url": broker.url,
            "amqp_publish_retry": True,
            "managers": {manager: kind, **{manager + name: its for name, its in beside.items()}},
        }
        made = PulsarServer.made(room, **(usual | app))
        (room.directory / "amqp.ini").write_text(_AMQP_INI)
        facts = {f.name: getattr(made, f.name) for f in dataclasses.fields(made)}
        return cls(**facts, broker=broker, manager=manager, hybrid=hybrid).started()

    def __post_init__(self) -> None:
        # Another process makes it again from JSON.
        if isinstance(self.broker, dict):
            object.__setattr__(self, "broker", RabbitmqServer(**self.broker))

    @property
    def setup_queue(self) -> str:
        """Where it takes jobs from."""
        return f"pulsar_{self.manager}__setup"

    @property
    def environment(self) -> dict[str, str]:
        """What is set for it, and for what it starts."""
        return {"PULSAR_CONFIG_DIR": self.directory}

    def start(self) -> None:
        """Start it over the directories that are there, and do not wait."""
        argv: list[str | Path] = [program(ENVIRONMENT, "pulsar-main"), "-c", self.directory]
        if self.hybrid:
            argv = [program(ENVIRONMENT, "pulsar-serve"), Path(self.directory) / "server.ini"]
        else:
            argv += ["--ini_path", Path(self.directory) / "amqp.ini"]
        self._room.start("pulsar", argv, self.environment)

    def started(self) -> Self:
        """Start it, and wait until it listens."""
        self.start()
        self._room.wait_until(self._takes_jobs, "Pulsar takes jobs")
        return self

    def _takes_jobs(self) -> bool:
        there = answers(self.port) or not self.hybrid
        return there and self.broker.consumers(self.setup_queue) > 0

    def kill(self) -> None:
        """End it by SIGKILL; the broker notices at once."""
        super().kill()
        wait_until(lambda: not self.broker.consumers(self.setup_queue), "Pulsar is gone")
