"""Fixtures of Snakemake and of the image that its jobs run in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.docker_engine import DockerEngine
from tests.peers.s3_server import S3Server
from tests.peers.snakemake import Run, Snakemake, StartRun
from tests.peers.snakemake_image import load
from tests.peers.tesp_server import TespServer


@pytest.fixture
def start_run(tmp_path: Path, s3_server: S3Server, s3_bucket: str) -> Iterator[StartRun]:
    """Starts runs that end with the test: `start_run(server, workflow, options..., image=...)`."""
    runs: list[Run] = []

    def start(server: TespServer, workflow: str, *options: str, **changes: str) -> Run:
        places = {"s3_url": s3_server.url, "bucket": s3_bucket, **changes}
        client = Snakemake(tmp_path / "workflow", server.url, **places)
        runs.append(client.start(workflow, *options))
        return runs[-1]

    yield start
    for run in runs:
        run.end()


@pytest.fixture(scope="session")
def snakemake_image(docker_engine: DockerEngine) -> str:
    """An image with Snakemake in the tests' Docker engine."""
    return load(docker_engine)
