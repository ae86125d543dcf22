"""Whole tasks: how many no-ops a second, and what a task costs over a bare `docker run`.

Prints, for the sandbox, tasks a second for 100 no-ops, and the latency of single ones; for
docker, the median of interleaved pairs: a task from POST to COMPLETE against `docker run`.
"""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tests.peers.docker_engine import DockerEngine
from tests.peers.room import Room
from tests.peers.tesp_server import TERMINAL, TespServer

TASKS = 100
PAIRS = 50
NO_OP: dict[str, object] = {"executors": [{"image": "none", "command": ["true"]}]}


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        sandbox(Path(directory) / "sandbox")
        with Room.temporary() as room:
            docker(Path(directory) / "docker", DockerEngine.boot(room))


def sandbox(directory: Path) -> None:
    """Throughput and latency of no-ops in the sandbox."""
    server = TespServer(directory, {"local": {"runtime": "sandbox"}}).start()
    try:
        seconds = whole(server, NO_OP)
        print(f"sandbox: {TASKS} no-op tasks in {seconds:.2f} s: {TASKS / seconds:.1f}/s")
        alone = [latency(server, NO_OP) for _ in range(20)]
        print(f"sandbox: one no-op alone, median of 20: {statistics.median(alone) * 1000:.0f} ms")
    finally:
        server.kill()


def whole(server: TespServer, task: dict[str, object], count: int = TASKS) -> float:
    """Seconds from the first POST of so many tasks until all are COMPLETE. One has been run
    before."""
    server.run(task)
    before = complete(server)
    started = time.monotonic()
    for _ in range(count):
        server.submit(task)
    while complete(server) < before + count:
        time.sleep(0.05)
    return time.monotonic() - started


def docker(directory: Path, engine: DockerEngine) -> None:
    """What a task costs over a bare `docker run`, in interleaved pairs."""
    settings = {
        "local": {"runtime": "docker"},
        "containers": {"docker_host": engine.host, "network": "none"},
    }
    server = TespServer(directory, settings).start()
    task = {"executors": [{"image": engine.image, "command": ["true"]}]}
    bare = ["docker", "--host", engine.host, "run", "--rm", "--network", "none", engine.image]
    try:
        server.run(task)
        pairs = [(latency(server, task), run([*bare, "true"])) for _ in range(PAIRS)]
    finally:
        server.kill()
    ours, theirs = (statistics.median(p) * 1000 for p in zip(*pairs, strict=True))
    over = statistics.median(a - b for a, b in pairs) * 1000
    print(f"docker: task {ours:.0f} ms, bare `docker run --rm` {theirs:.0f} ms, medians of {PAIRS}")
    print(f"docker: median overhead of a pair {over:.0f} ms, ratio {ours / theirs:.2f}")


def latency(server: TespServer, task: dict[str, object]) -> float:
    """Seconds from POST to a terminal state."""
    started = time.monotonic()
    task_id = server.submit(task)
    while (state := server.state(task_id)) not in TERMINAL:
        time.sleep(0.01)  # more often would take the processor from what is measured
    assert state == "COMPLETE", server.get(task_id)
    return time.monotonic() - started


def run(command: list[str]) -> float:
    """Seconds that a command takes."""
    started = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - started


def complete(server: TespServer) -> int:
    """How many tasks are COMPLETE, up to 2,000."""
    answer = server.client.get("/tasks", params={"state": "COMPLETE", "page_size": 2000})
    return len(answer.json()["tasks"])


if __name__ == "__main__":
    main()
