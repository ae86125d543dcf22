"""A real genome: the lambda phage and its reads, aligned by bowtie2 and sorted by samtools.

What tesp makes of them in S3 equals what the same commands make by hand.
"""

import gzip
import subprocess
from pathlib import Path

import pytest

from tests.peers import snakemake
from tests.peers.s3_server import S3Server
from tests.peers.server_fixtures import StartServer
from tests.peers.snakemake import StartRun
from tests.peers.tesp_server import Document

EXAMPLES = Path("/usr/share/doc/bowtie2/examples")
ALIGN = "bowtie2 -x {index}/lambda -1 {reads}/reads_1.fq.gz -2 {reads}/reads_2.fq.gz -S {out}/a.sam"
SORT = "samtools sort -o {out}/a.bam {out}/a.sam"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genome, and its index."""
    directory = tmp_path_factory.mktemp("index")
    with gzip.open(EXAMPLES / "reference" / "lambda_virus.fa.gz") as packed:
        (directory / "lambda_virus.fa").write_bytes(packed.read())
    by_hand(f"bowtie2-build --quiet {directory}/lambda_virus.fa {directory}/lambda")
    return directory


def by_hand(script: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], check=True, capture_output=True)


def alignments(bam: Path) -> list[str]:
    """The sequences of the genome, and each alignment in its order."""
    argv = ["samtools", "view", "--with-header", bam]
    lines = subprocess.run(argv, capture_output=True, check=True, text=True).stdout.splitlines()
    # @PG holds the command lines, with the paths of the place where they ran.
    return [line for line in lines if not line.startswith("@PG")]


def test_one_task_of_two_executors_aligns_and_sorts_the_reads_as_by_hand(
    start_server: StartServer, s3_server: S3Server, s3_bucket: str, index: Path, tmp_path: Path
) -> None:
    s3, keys = s3_server.client(), {"access_key": "a-key", "secret_key": "a-secret"}
    server = start_server(staging={"s3": [{"endpoint": s3_server.url, **keys}]})
    for file in index.glob("*.bt2"):
        s3.upload_file(str(file), s3_bucket, f"index/{file.name}")
    for name in ("reads_1.fq.gz", "reads_2.fq.gz"):
        s3.upload_file(str(EXAMPLES / "reads" / name), s3_bucket, f"reads/{name}")
    task = server.run(genome_task(f"s3://{s3_bucket}"))
    assert task["state"] == "COMPLETE", task
    aligned, sorted_ = task["logs"][0]["logs"]
    assert "94.22% overall alignment rate" in aligned["stderr"]
    assert (aligned["exit_code"], sorted_["exit_code"]) == (0, 0)
    s3.download_file(s3_bucket, "results/a.bam", str(tmp_path / "theirs.bam"))
    places = {"index": index, "reads": EXAMPLES / "reads", "out": tmp_path}
    by_hand(f"{ALIGN}; {SORT}".format(**places))
    theirs = alignments(tmp_path / "theirs.bam")
    assert len(theirs) > 20_000
    assert theirs == alignments(tmp_path / "a.bam")


def genome_task(bucket: str) -> Document:
    places = {"index": "/data/index", "reads": "/data/reads", "out": "/results"}
    return {
        "name": "lambda phage",
        "inputs": [
            {"path": f"/data/{name}", "url": f"{bucket}/{name}", "type": "DIRECTORY"}
            for name in ("index", "reads")
        ],
        "outputs": [{"path": "/results/a.bam", "url": f"{bucket}/results/a.bam"}],
        "executors": [
            {"image": "debian:12", "command": command.format(**places).split()}
            for command in (ALIGN, SORT)
        ],
    }


def test_a_snakemake_workflow_aligns_and_merges_the_reads_as_by_hand(
    start_server: StartServer,
    start_run: StartRun,
    s3_server: S3Server,
    s3_bucket: str,
    index: Path,
    tmp_path: Path,
) -> None:
    s3 = s3_server.client()
    s3.upload_file(str(index / "lambda_virus.fa"), s3_bucket, "run-1/lambda_virus.fa")
    for name in ("reads_1.fq.gz", "reads_2.fq.gz"):
        s3.upload_file(str(EXAMPLES / "reads" / name), s3_bucket, f"run-1/{name}")
    run = start_run(start_server(**snakemake.server_settings()), "genome")
    assert run.wait() == 0, run.output()
    assert len(run.tasks()) == 5
    s3.download_file(s3_bucket, "run-1/lambda.bam", str(tmp_path / "theirs.bam"))
    expected = merged_by_hand(index, tmp_path)
    theirs = alignments(tmp_path / "theirs.bam")
    assert len(theirs) > 20_000
    assert theirs == alignments(expected)
    flagstat = s3.get_object(Bucket=s3_bucket, Key="run-1/lambda.flagstat")["Body"].read()
    assert b"20000 + 0 in total" in flagstat


def merged_by_hand(index: Path, directory: Path) -> Path:
    lanes = [directory / f"{lane}.bam" for lane in ("reads_1", "reads_2")]
    for bam in lanes:
        reads = EXAMPLES / "reads" / f"{bam.stem}.fq.gz"
        by_hand(f"bowtie2 -x {index}/lambda -U {reads} | samtools sort -o {bam} -")
    merged = directory / "merged.bam"
    by_hand(f"samtools merge {merged} {lanes[0]} {lanes[1]}")
    return merged
