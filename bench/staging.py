"""Staging against curl: the same files, the same servers, the same disk, by turns.

    python -m bench.staging [--mebibytes 1024] [--rounds 5] [--directory DIR]

HTTP is served by tests/peers/http_server.py, S3 by moto, each a process of its own on
loopback. A ratio of 1 is curl's speed; the median of the rounds' ratios is what counts.
"""

import argparse
import asyncio
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from tesp.settings import S3Access, StagingSettings
from tesp.staging import Download, Upload
from tesp.staging.directory import DirectoryWorkspace
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out
from tests.peers.room import Room
from tests.peers.s3_server import S3Server

_BUCKET = "bench"


@dataclasses.dataclass(frozen=True)
class Case:
    """One comparison: what we do, what curl does, how much moves."""

    name: str
    mebibytes: int
    ours: Callable[[], None]
    curls: list[str]
    leaves: tuple[Path, ...]


def main() -> None:
    """Run all cases and print the table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        here = Path(directory)
        with http_server(here / "served") as url, Room.temporary() as room:
            moto = S3Server.boot(room)
            cases = [*http_cases(here, url, options.mebibytes)]
            cases += s3_cases(here, moto, options.s3_mebibytes)
            print(f"{'':12} {'MiB':>5} {'ours MiB/s':>11} {'curl MiB/s':>11} {'ratio':>6}  rounds")
            for case in cases:
                print(measured(case, options.rounds), flush=True)


def http_cases(here: Path, url: str, mebibytes: int) -> Iterator[Case]:
    """GET and PUT of one large file."""
    workspace = _directory(here / "workspace")
    fill(here / "served" / "file", mebibytes)
    down, fetched = workspace / "file", here / "curl.out"
    settings = StagingSettings()
    yield Case(
        "http down",
        mebibytes,
        lambda: receive(settings, f"{url}/file", workspace),
        ["curl", "-sf", "-o", str(fetched), f"{url}/file"],
        (down, fetched),
    )
    fill(workspace / "up", mebibytes)
    yield Case(
        "http up",
        mebibytes,
        lambda: send(settings, f"{url}/ours", workspace),
        ["curl", "-sf", "-T", str(workspace / "up"), f"{url}/curls"],
        (here / "served" / "ours", here / "served" / "curls"),
    )


def s3_cases(here: Path, moto: S3Server, mebibytes: int) -> Iterator[Case]:
    """The same through S3; curl asks moto, which checks no signature, for the same object."""
    workspace = _directory(here / "s3")
    fill(workspace / "up", mebibytes)
    moto.make_bucket(_BUCKET)
    access: S3Access = moto.access()
    settings = StagingSettings(s3=(access,))
    send(settings, f"s3://{_BUCKET}/file", workspace)
    fetched = here / "curl.out"
    yield Case(
        "s3 down",
        mebibytes,
        lambda: receive(settings, f"s3://{_BUCKET}/file", workspace),
        ["curl", "-sf", "-o", str(fetched), f"{moto.url}/{_BUCKET}/file"],
        (workspace / "file", fetched),
    )
    named = {"Bucket": _BUCKET, "Key": "curls"}
    signed = moto.client().generate_presigned_url("put_object", named, 86400)
    yield Case(
        "s3 up",
        mebibytes,
        lambda: send(settings, f"s3://{_BUCKET}/ours", workspace),
        ["curl", "-sf", "-T", str(workspace / "up"), signed],
        (),
    )


def measured(case: Case, rounds: int) -> str:
    """One line of the table; who goes first changes from round to round."""
    ours, curls = [], []
    for number in range(rounds + 1):
        both = [(case.ours, ours), (lambda: _run(case.curls), curls)]
        for work, times in both if number % 2 else reversed(both):
            for path in case.leaves:
                path.unlink(missing_ok=True)
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    # The first round warms the page cache.
    speeds = [[case.mebibytes / s for s in times[1:]] for times in (ours, curls)]
    ratios = [a / b for a, b in zip(*speeds, strict=True)]
    middle = [statistics.median(s) for s in (*speeds, ratios)]
    each = " ".join(f"{r:.2f}" for r in ratios)
    left = f"{case.name:12} {case.mebibytes:5}"
    return f"{left} {middle[0]:11.0f} {middle[1]:11.0f} {middle[2]:6.2f}  {each}"


def receive(settings: StagingSettings, url: str, workspace: Path) -> None:
    """Stage one file in, from a cold start of the client."""

    async def run() -> None:
        storages = Storages(settings)
        download = Download("file", "inputs[0]", url=url)
        await stage_in(storages, [download], DirectoryWorkspace(workspace), asyncio.Semaphore(4))
        await storages.close()

    uvloop.run(run())


def send(settings: StagingSettings, url: str, workspace: Path) -> None:
    """Stage one file out, from a cold start of the client."""

    async def run() -> None:
        storages = Storages(settings)
        size = (workspace / "up").stat().st_size
        upload = Upload("up", url, "/up", size, "outputs[0]")
        await stage_out(storages, [upload], DirectoryWorkspace(workspace), asyncio.Semaphore(4))
        await storages.close()

    uvloop.run(run())


def fill(path: Path, mebibytes: int) -> None:
    """A file of bytes that no disk can squeeze."""
    block = os.urandom(1 << 20)
    with path.open("wb") as out:
        for _ in range(mebibytes):
            out.write(block)


@contextmanager
def http_server(directory: Path) -> Iterator[str]:
    """The tests' HTTP server over a directory, as a process of its own."""
    argv = [sys.executable, "-m", "tests.peers.http_server", str(_directory(directory))]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.stdin.close()


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def _run(argv: list[str]) -> None:
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Staging against curl, by turns")
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--s3-mebibytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
