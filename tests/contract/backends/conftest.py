"""The backends that the suite runs over."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tesp.backends import Backend
from tesp.runner.plan import Runtime
from tests.contract.backends.amqp_harness import AmqpHarness, HybridHarness
from tests.contract.backends.harness import SANDBOX, Attempt, Harness, LocalHarness, RestHarness
from tests.peers.docker_engine import DockerEngine

MakeHarness = Callable[[pytest.FixtureRequest, Runtime], Harness]


def _local(request: pytest.FixtureRequest, runtime: Runtime) -> Harness:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    return LocalHarness(tmp_path / "data", runtime)


def _pulsar_rest(request: pytest.FixtureRequest, runtime: Runtime) -> Harness:
    return RestHarness(request.getfixturevalue("pulsar"), runtime)


def _pulsar_amqp(request: pytest.FixtureRequest, runtime: Runtime) -> Harness:
    files = request.getfixturevalue("files_server")
    return AmqpHarness(request.getfixturevalue("amqp_pulsar"), files, runtime)


def _pulsar_hybrid(request: pytest.FixtureRequest, runtime: Runtime) -> Harness:
    return HybridHarness(request.getfixturevalue("hybrid_pulsar"), runtime)


HARNESSES: dict[str, MakeHarness] = {
    "local": _local,
    "pulsar-rest": _pulsar_rest,
    "pulsar-amqp": _pulsar_amqp,
    "pulsar-hybrid": _pulsar_hybrid,
}


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each kind of backend in turn, its commands in the sandbox."""
    return HARNESSES[request.param](request, SANDBOX)


@pytest.fixture(params=HARNESSES)
def docker_harness(request: pytest.FixtureRequest, docker_engine: DockerEngine) -> Harness:
    """Each kind of backend in turn, its commands in containers."""
    environment = {"DOCKER_HOST": docker_engine.host}
    runtime = Runtime("docker", "docker", network="host", environment=environment)
    return HARNESSES[request.param](request, runtime)


@pytest.fixture
async def backend(harness: Harness) -> AsyncIterator[Backend]:
    """A backend object."""
    backend = harness.opened()
    yield backend
    await backend.close()


@pytest.fixture
async def attempt(harness: Harness, backend: Backend) -> AsyncIterator[Attempt]:
    """An attempt that leaves nothing, whatever becomes of it."""
    attempt = Attempt(harness, backend)
    yield attempt
    if attempt.job.place:
        await backend.clean(attempt.job)
