"""Tasks on Pulsars against what Pulsar itself and curl do there, in the same run.

python -m bench.pulsar [--mebibytes 1024] [--only latency throughput transfers]

Prints, for a Pulsar over REST and one over AMQP alone: a no-op from POST to COMPLETE and 200 of
them, against the same number of bare `true` jobs of Pulsar's; and how fast a big input and a big
output move in both staging modes, against curl to and from the same Pulsar, with the growth of the
server's memory meanwhile.
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench import tasks
from bench.memory import resident, watch
from bench.tasks import NO_OP
from tests.peers.environments import find_own_python
from tests.peers.http_server import HttpServer
from tests.peers.pulsar import PulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room
from tests.peers.sites import Site, pulsar_site
from tests.peers.tesp_server import TERMINAL, TespServer

ALONE = 30
MANY = 200
SLOTS = 64


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parts = ["latency", "throughput", "transfers"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    find_own_python()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        for name in ("rest", "amqp"):
            site, bare = stack.enter_context(booted(name, Path(directory) / name))
            server = site.start(SLOTS)
            server.run(NO_OP)
            if "latency" in options.only:
                latency(name, server, bare)
            if "throughput" in options.only:
                throughput(name, server, bare)
            server.kill()
        if "transfers" in options.only:
            for staging in ("dispatcher", "node"):
                transfers(Path(directory) / staging, staging, options.mebibytes << 20)


class Bare:
    """Jobs of Pulsar's own over REST: `true`, polled every 20 ms."""

    def __init__(self, pulsar: PulsarServer) -> None:
        self._client = httpx.Client(base_url=pulsar.url, params={"private_token": pulsar.token})

    def submit(self) -> str:
        """Start one; its id."""
        job_id = uuid.uuid4().hex
        self._client.post("/jobs", params={"job_id": job_id})
        self._client.post(f"/jobs/{job_id}/submit", params={"command_line": "true"})
        return job_id

    def has_ended(self, job_id: str) -> bool:
        """Whether it is complete; then it is cleaned."""
        ended: bool = self._client.get(f"/jobs/{job_id}/status").json()["complete"] == "true"
        if ended:
            self._client.delete(f"/jobs/{job_id}")
        return ended


@contextmanager
def booted(name: str, directory: Path) -> Iterator[tuple[Site, Bare]]:
    """A Pulsar, and the same Pulsar bare: one that has no AMQP is asked over REST."""
    directory.mkdir(parents=True)
    with Room.temporary() as room, Room.temporary() as broker, Room.temporary() as other:
        bare = Bare(PulsarServer.boot(other))
        if name == "rest":
            pulsar = PulsarServer.boot(room)
            keys: dict[str, Any] = {"url": pulsar.url, "token": pulsar.token}
        else:
            url = RabbitmqServer.boot(broker).url
            pulsar = PulsarServer.made(room, message_queue_url=url).started()
            keys = {"amqp_url": url}
        with pulsar_site(name, directory, pulsar, **keys).ended() as site:
            yield site, bare


def latency(name: str, server: TespServer, bare: Bare) -> None:
    """One at a time, by turns."""
    pairs = [(tasks.latency(server, NO_OP), timed(lambda: job(bare))) for _ in range(ALONE)]
    ours, theirs = (statistics.median(p) * 1000 for p in zip(*pairs, strict=True))
    print(f"{name}: a no-op {ours:.0f} ms, Pulsar's own {theirs:.0f} ms, medians of {ALONE}")


def job(bare: Bare) -> None:
    """One bare job."""
    job_id = bare.submit()
    while not bare.has_ended(job_id):
        time.sleep(0.02)


def throughput(name: str, server: TespServer, bare: Bare) -> None:
    """Many at once."""
    ours, theirs = tasks.whole(server, NO_OP, MANY), timed(lambda: jobs(bare))
    print(
        f"{name}: {MANY} no-ops {MANY / ours:.1f}/s, Pulsar's own {MANY / theirs:.1f}/s, "
        f"ratio {theirs / ours:.2f}"
    )


def jobs(bare: Bare) -> None:
    """Many bare jobs, all submitted first."""
    waiting = [bare.submit() for _ in range(MANY)]
    while waiting:
        waiting = [job_id for job_id in waiting if not bare.has_ended(job_id)]


def transfers(directory: Path, staging: str, size: int) -> None:
    """A big input and a big output, against curl to and from the same Pulsar."""
    served = directory / "served"
    served.mkdir(parents=True)
    with (served / "big").open("wb") as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
    with HttpServer(served) as peer, Room.temporary() as room:
        pulsar = PulsarServer.boot(room)
        keys = {"url": pulsar.url, "token": pulsar.token, "staging": staging}
        with pulsar_site(staging, directory, pulsar, **keys).ended() as site:
            server = site.start()
            server.run(NO_OP)
            before = resident(server.pid)
            for what, fields in (
                ("in", {"inputs": [{"path": "/i/big", "url": f"{peer.url}/big"}]}),
                ("out", {"outputs": [{"path": "/o/big", "url": f"{peer.url}/copy"}]}),
            ):
                with peak(server) as most:
                    seconds = move(server, fields, size)
                curls = curl(pulsar, served / "big", what)
                print(
                    f"{staging}: {size >> 20} MiB {what}: {size / seconds / 1e6:.0f} MB/s, "
                    f"curl {size / curls / 1e6:.0f} MB/s, ratio {curls / seconds:.2f}, "
                    f"memory {(most[0] - before) >> 20} MiB more"
                )


def move(server: TespServer, fields: dict[str, Any], size: int) -> float:
    """Seconds that moving takes: those of the task but its command, and those of a no-op."""
    made = f"head -c {size} /dev/zero >/o/big" if "outputs" in fields else "true"
    task_id = server.submit(
        {"executors": [{"image": "i", "command": ["sh", "-c", made]}], **fields}
    )
    started = time.monotonic()
    while (state := server.state(task_id)) not in TERMINAL:
        time.sleep(0.02)
    ended = server.get(task_id)
    assert state == "COMPLETE", ended
    return time.monotonic() - started - executor_seconds(ended)


def executor_seconds(task: dict[str, Any]) -> float:
    """How long the command itself took."""
    from datetime import datetime

    log = task["logs"][0]["logs"][0]
    begun, over = (datetime.fromisoformat(log[k]) for k in ("start_time", "end_time"))
    return (over - begun).total_seconds()


def curl(pulsar: PulsarServer, big: Path, what: str) -> float:
    """Seconds that curl takes for the same bytes between a file and a job's directory."""
    job_id, token = uuid.uuid4().hex, pulsar.token
    base = f"{pulsar.url}/jobs"
    quiet = ["curl", "-sS", "-o", "/dev/null"]
    subprocess.run(
        [*quiet, "-X", "POST", f"{base}?job_id={job_id}&private_token={token}"], check=True
    )
    files = f"{base}/{job_id}/files?private_token={token}"
    upload = [*quiet, "-X", "POST", "-T", str(big), f"{files}&type=metadata&name=big"]
    download = [
        *("curl", "-sS", "-o", str(big.with_name("curled"))),
        f"{files}&type=output_metadata&name=big",
    ]
    seconds = timed(lambda: subprocess.run(upload, check=True))
    if what == "out":
        seconds = timed(lambda: subprocess.run(download, check=True))
    subprocess.run([*quiet, "-X", "DELETE", f"{base}/{job_id}?private_token={token}"], check=True)
    return seconds


@contextmanager
def peak(server: TespServer) -> Iterator[list[int]]:
    """The most memory that a server had meanwhile."""
    most, over = [0], threading.Event()
    watcher = threading.Thread(target=watch, args=(server.pid, most, over))
    watcher.start()
    try:
        yield most
    finally:
        over.set()
        watcher.join()


def timed(act: Callable[[], object]) -> float:
    """Seconds that something takes."""
    started = time.monotonic()
    act()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
