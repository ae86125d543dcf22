"""Nodes with a real Docker engine and with the sandbox."""

import os
import shutil
from pathlib import Path

import pytest

from tesp.backends import package
from tesp.runner.plan import Runtime
from tests.contract.runner.node import Node
from tests.peers.docker_engine import DockerEngine


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runner as one file."""
    return package.build(tmp_path_factory.mktemp("runner"))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a server; its temporary directory is the test's own."""
    (tmp_path / "tmp").mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}


@pytest.fixture
def sandbox(tmp_path: Path, environ: dict[str, str], pyz: Path) -> Node:
    """A node with bubblewrap."""
    program = shutil.which("bwrap")
    assert program, "bwrap: no such program"
    return Node(tmp_path, Runtime("sandbox", program), "busybox", environ, pyz)


@pytest.fixture
def docker(tmp_path: Path, environ: dict[str, str], pyz: Path, docker_engine: DockerEngine) -> Node:
    """A node with a Docker engine."""
    runtime = Runtime(
        "docker", "docker", network="none", environment={"DOCKER_HOST": docker_engine.host}
    )
    return Node(tmp_path, runtime, docker_engine.image, environ, pyz)


@pytest.fixture(params=["sandbox", "docker"])
def node(request: pytest.FixtureRequest) -> Node:
    """A node with each of the runtimes that can be had here."""
    found: Node = request.getfixturevalue(request.param)
    return found
