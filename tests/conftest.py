"""Fixtures of the whole suite: real peers, each booted once a run, by the first who asks.

Workers of one run share them; the process that started the run ends them.
"""

import os
import signal
import tempfile
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pymongo
import pytest
from hypothesis import settings

from tests.peers.docker_engine import DockerEngine
from tests.peers.docker_registry import DockerRegistry, OpenRegistry
from tests.peers.environments import find_own_python, interpreter
from tests.peers.mongodb import MongodbServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import SharedPeers
from tests.peers.swift import SwiftS3

_PEERS = pytest.StashKey[SharedPeers]()
_MONGODB_URI = pytest.StashKey[str]()
_MONGODB_VARIABLE = "TESP_TEST_MONGODB_URI"

# Each brings fixtures of its own.
_FIXTURES = (
    "tests.peers.bus_fixtures",
    "tests.peers.mail_fixtures",
    "tests.peers.pulsar_fixtures",
    "tests.peers.pulsar_amqp_fixtures",
    "tests.peers.staging_fixtures",
    "tests.peers.server_fixtures",
    "tests.peers.site_fixtures",
    "tests.peers.snakemake_fixtures",
)
pytest_plugins = [name for name in _FIXTURES if find_spec(name)]


def pytest_configure(config: pytest.Config) -> None:
    """Make the room of this run's peers, or take the one of the run that a worker belongs to."""
    given = getattr(config, "workerinput", {})
    owner = given.get("tesp_owner", os.getpid())
    room = Path(tempfile.gettempdir()) / f"tesp-peers-{uuid.uuid4().hex}"
    uri = given.get("tesp_mongodb_uri", os.environ.get(_MONGODB_VARIABLE, ""))
    config.stash[_PEERS] = SharedPeers(Path(given.get("tesp_peers", room)), owner)
    config.stash[_MONGODB_URI] = uri
    if not given:
        # A run that is told to end takes its peers along, like one that is interrupted.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    find_own_python()
    # How long an example takes says nothing on a machine that has much else to do.
    settings.register_profile("tesp", deadline=None)
    settings.load_profile("tesp")
    # What a person has set for his own server is not for the tests.
    for name in [n for n in os.environ if n.startswith("TESP_")]:
        del os.environ[name]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist where the peers of this run are."""
    peers = node.config.stash[_PEERS]
    node.workerinput["tesp_owner"] = peers.owner
    node.workerinput["tesp_peers"] = str(peers.directory)
    node.workerinput["tesp_mongodb_uri"] = node.config.stash[_MONGODB_URI]


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the peers, where this process is the run itself and not one of its workers."""
    peers = config.stash.get(_PEERS, None)
    if peers and peers.owner == os.getpid():
        peers.end()


@pytest.fixture(scope="session")
def shared_peers(pytestconfig: pytest.Config) -> SharedPeers:
    """The peers of this run, by name."""
    return pytestconfig.stash[_PEERS]


@pytest.fixture(scope="session")
def docker_engine(shared_peers: SharedPeers) -> DockerEngine:
    """A Docker engine of the tests' own."""
    return shared_peers.get("docker-engine", DockerEngine)


@pytest.fixture(scope="session")
def docker_registry(shared_peers: SharedPeers) -> DockerRegistry:
    """An image registry that asks for a password."""
    return shared_peers.get("docker-registry", DockerRegistry)


@pytest.fixture(scope="session")
def open_registry(shared_peers: SharedPeers) -> OpenRegistry:
    """An image registry that asks for nothing."""
    return shared_peers.get("open-registry", OpenRegistry)


@pytest.fixture(scope="session")
def mongodb_uri(pytestconfig: pytest.Config, shared_peers: SharedPeers) -> str:
    """TESP_TEST_MONGODB_URI where it is set, else a server of the tests' own."""
    return pytestconfig.stash[_MONGODB_URI] or shared_peers.get("mongodb", MongodbServer).uri


@pytest.fixture
def mongodb_database(mongodb_uri: str) -> Iterator[str]:
    """The name of a database that is this test's alone; it is dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def swift_s3(shared_peers: SharedPeers) -> SwiftS3:
    """An S3 server that checks keys and signatures."""
    return shared_peers.get("swift", SwiftS3)


@pytest.fixture(scope="session")
def rabbitmq(shared_peers: SharedPeers) -> RabbitmqServer:
    """A RabbitMQ for all tests: whoever uses it has queues of his own names."""
    return shared_peers.get("rabbitmq", RabbitmqServer)


@pytest.fixture(scope="session")
def pytes_old() -> Path:
    """The Python of an environment with py-tes 0.4.2."""
    return interpreter("pytes-0.4.2")


@pytest.fixture(scope="session")
def pytes_new() -> Path:
    """The Python of an environment with py-tes 1.1.4."""
    return interpreter("pytes-1.1.4")
