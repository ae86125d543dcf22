"""Jobs over AMQP in the suite of the backends."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tesp.backends import Backend, Job
from tesp.backends.pulsar.amqp_backend import AmqpPulsar
from tesp.backends.pulsar.hybrid_backend import HybridPulsar
from tesp.runner.plan import Fetch, Found, Plan, Runtime
from tesp.settings import PulsarSettings
from tests.contract.backends.harness import RestHarness
from tests.peers.files_server import FilesServer
from tests.peers.pulsar_amqp import AmqpPulsarServer


class AmqpHarness:
    """Jobs of a Pulsar over AMQP alone: Pulsar, or the runner, carries their files."""

    def __init__(
        self, pulsar: AmqpPulsarServer, files: FilesServer, runtime: Runtime, **settings: Any
    ) -> None:
        self.pulsar, self.files, self.runtime = pulsar, files, runtime
        self.settings = PulsarSettings(
            **{
                **{"name": "here", "amqp_url": pulsar.broker.url, "manager": pulsar.manager},
                **{"runtime": runtime.kind, "python": sys.executable},
                **settings,
            }
        )

    def opened(self, silence_seconds: float = 120.0) -> AmqpPulsar:
        """A connection of its own."""
        return AmqpPulsar(self.settings, self.runtime, silence_seconds=silence_seconds)

    def place(self, job: Job) -> Path:
        """Below the staging directory."""
        return self.pulsar.workspace(job.place)

    def directory(self, job: Job) -> Path:
        """Pulsar's directory of the job."""
        return self.place(job).parents[1]

    async def staged(
        self, backend: Backend, job: Job, plan: Plan, files: Mapping[str, bytes]
    ) -> Plan:
        """With the URLs of what is to be brought in."""
        fetches = [
            Fetch(file, self.files.put_in(f"{job.handle}/{file}", content))
            for file, content in files.items()
        ]
        directories = [mount.source for mount in plan.mounts]
        send_url = self.files.send_url(job.handle)
        return plan._replace(directories=directories, fetches=fetches, send_url=send_url)

    async def content(self, backend: Backend, job: Job, found: Found) -> bytes:
        """As it was sent."""
        return self.files.sent(job.handle, found.output, found.size, found.name).read_bytes()


class HybridHarness(RestHarness):
    """Jobs of a Pulsar over AMQP, their files over REST."""

    def __init__(self, pulsar: AmqpPulsarServer, runtime: Runtime, **settings: Any) -> None:
        amqp = {"amqp_url": pulsar.broker.url, "manager": pulsar.manager}
        super().__init__(pulsar, runtime, **amqp, **settings)

    def opened(self, silence_seconds: float = 60.0) -> HybridPulsar:
        """A connection of its own."""
        return HybridPulsar(self.settings, self.runtime, silence_seconds=silence_seconds)
