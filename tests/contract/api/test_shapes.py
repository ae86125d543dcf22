"""Requests in the very shapes that workflow engines send: each is taken as it is."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tesp.store.sqlite import SqliteStore
from tests.contract.api.serving import CURRENT, OLDER, api_over, client_of

SNAKEMAKE = {
    "name": "snakejob - job 1",
    "description": "",
    "inputs": [
        {
            "path": "/tmp/run_snakemake.sh",
            "content": "#!/bin/sh\npython -m snakemake\n",
            "type": "FILE",
        }
    ],
    "outputs": [],
    "executors": [
        {
            "image": "snakemake/snakemake:latest",
            "command": ["/bin/bash", "/tmp/run_snakemake.sh"],
            "workdir": "/tmp",
            "env": {},
        }
    ],
    "resources": {"cpu_cores": 1, "ram_gb": 1, "disk_gb": 1},
    "tags": {},
}
STAGED = "/var/lib/cwl/stg6a1e2a0c-5b1d-4d2b-9f0a-1d2e3f4a5b6c"
CWL_TES = {
    "name": "step",
    "description": "doc",
    "inputs": [
        {
            "name": "in",
            "description": "cwl input",
            "path": f"{STAGED}/in.txt",
            "url": "file:///shared/in.txt",
            "type": "FILE",
        },
        {"path": f"{STAGED}/literal", "url": "_:0c9b", "content": "x", "type": "FILE"},
    ],
    "outputs": [
        {"path": "/aBcDeF/out.txt", "url": "file:///shared/out/out.txt", "type": "FILE"},
        {"path": "/aBcDeF", "url": "file:///shared/out/", "type": "DIRECTORY"},
    ],
    "executors": [
        {
            "image": "debian:12",
            "command": ["cat", f"{STAGED}/in.txt"],
            "workdir": "/aBcDeF",
            "env": {"HOME": "/aBcDeF", "TMPDIR": "/tmp"},
            "stdin": f"{STAGED}/in.txt",
            "stdout": "/aBcDeF/out.txt",
        }
    ],
    "resources": {"cpu_cores": 1, "ram_gb": 0.256, "disk_gb": 2.048},
    "tags": {"CWLDocumentId": "file:///shared/tool.cwl"},
}
TOIL = {
    "name": "toil-job",
    "inputs": [
        {
            "url": "file:///shared/jobstore",
            "path": "/shared/jobstore",
            "type": "DIRECTORY",
            "name": "jobstore",
        }
    ],
    "executors": [{"image": "quay.io/toil:7", "command": ["sh", "-c", "x" * 100_000]}],
    "resources": {"cpu_cores": 1, "ram_gb": 2.0, "disk_gb": 2.0, "preemptible": False},
    "volumes": ["/toil"],
}
NEXTFLOW = {
    "name": "align (1)",
    "inputs": [
        {"path": "/work/.command.sh", "url": "/shared/w/1a/.command.sh", "type": "FILE"},
        {"path": "/work/reads", "url": "s3://bucket/reads", "type": "DIRECTORY"},
    ],
    "outputs": [
        {"path": "/work/.command.out", "url": "/shared/w/1a/.command.out"},
        {"path": "/work/.exitcode", "url": "/shared/w/1a/.exitcode"},
        {
            "path": "/work/*.{bam,bai}",
            "path_prefix": "/work",
            "url": "/shared/w/1a",
            "type": "FILE",
        },
        {"path": "/work/result", "url": "/shared/w/1a/result", "type": "FILE"},
    ],
    "executors": [
        {
            "image": "quay.io/biocontainers/samtools:1.20",
            "command": ["/bin/bash", "-o", "pipefail", "-c", "bash .command.sh | tee .command.out"],
            "workdir": "/work",
        }
    ],
    "resources": {"cpu_cores": 1, "backend_parameters_strict": False},
}


@pytest.fixture
async def client(store: SqliteStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that takes s3:// and shared files."""
    urls = ("s3://", "file:///shared/", "/shared/")
    async with client_of(api_over(store, urls)) as opened:
        yield opened


async def sent(client: httpx.AsyncClient, prefix: str, task: dict[str, Any]) -> dict[str, Any]:
    """Send a task; what comes back of it in FULL."""
    answer = await client.post(f"{prefix}/tasks", json=task)
    assert answer.status_code == 200, answer.text
    url = f"{prefix}/tasks/{answer.json()['id']}"
    document: dict[str, Any] = (await client.get(url, params={"view": "FULL"})).json()
    return document


@pytest.mark.parametrize(
    ("prefix", "task"),
    [(OLDER, SNAKEMAKE), (CURRENT, CWL_TES), (OLDER, TOIL), (CURRENT, TOIL)],
    ids=["snakemake", "cwl-tes", "toil", "toil-current"],
)
async def test_an_engines_task_comes_back_as_it_was_sent(
    client: httpx.AsyncClient, prefix: str, task: dict[str, Any]
) -> None:
    document = await sent(client, prefix, task)
    assert {k: v for k, v in document.items() if k in task} == task


@pytest.mark.parametrize("prefix", ["/v1", "//v1", "/ga4gh/tes/v1"])
async def test_nextflows_task_is_taken_with_bare_paths_wildcards_and_doubled_slashes(
    store: SqliteStore, client: httpx.AsyncClient, prefix: str
) -> None:
    body = json.dumps(NEXTFLOW).encode()
    answer = await client.post(f"http://tesp.test{prefix}/tasks", content=body)
    assert answer.status_code == 200, answer.text
    cancel = f"http://tesp.test{prefix}/tasks/{answer.json()['id']}:cancel"
    assert (await client.post(cancel)).json() == {}
