"""How fast files pass the endpoint for jobs that move them themselves, and in how much memory.

    python -m bench.files [--mebibytes 1024] [--at-once 4]

HTTP peers and curl are on loopback, all on the same cores. A GET streams from an HTTP source,
a PUT and a form (as Pulsar posts it) to a destination of the same kind.
"""

import argparse
import asyncio
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.memory import resident, watch
from bench.staging import fill, http_server
from tesp.staging.keys import Keys
from tesp.store import NewTask
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.models import Executor, Input, Output, TaskSubmission
from tesp.tes.views import body_text
from tests.peers.tesp_server import TespServer


@dataclass(frozen=True)
class Job:
    """An attempt whose side moves the files, and where it finds them."""

    task_id: str
    secret: bytes

    def fetch(self, server: TespServer) -> str:
        """The URL of its input."""
        return Keys(self.secret, server.url).input_url(self.task_id, 1, 0)

    def send(self, server: TespServer, query: str) -> str:
        """The URL of its output."""
        return f"{Keys(self.secret, server.url).send_url(self.task_id, 1)}&{query}"


def main() -> None:
    """Print speed and growth of memory for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        here = Path(directory)
        with http_server(here / "served") as url:
            file = here / "served" / "file"
            fill(file, options.mebibytes)
            server = TespServer(here / "server", {"local": {"runtime": "sandbox"}})
            job = asyncio.run(begun(server, url))
            try:
                server.start()
                report(server, job, file, options.at_once)
            finally:
                server.kill()


async def begun(server: TespServer, url: str) -> Job:
    """An attempt on a backend that the server does not have: nobody else works on it."""
    server.data.mkdir()
    store = await SqliteStore.open(server.data / "tesp.db")
    task = TaskSubmission(
        executors=[Executor(image="a", command=["b"])],
        inputs=[Input(path="/in", url=f"{url}/file")],
        outputs=[Output(path="/out", url=f"{url}/copies")],
    )
    task_id = new_task_id()
    await store.create(NewTask(task_id, "bench", body_text(task, "2026-01-01T00:00:00.000Z")))
    await store.claim(task_id, "elsewhere", "bench", 60)
    secret = await store.secret("files")
    await store.close()
    return Job(task_id, secret)


def report(server: TespServer, job: Job, file: Path, at_once: int) -> None:
    """Each way alone, and so many of it at once."""
    size = file.stat().st_size
    ways = {
        "get": ["-o", "/dev/null", job.fetch(server)],
        "put": ["-T", str(file), job.send(server, f"output=0&size={size}&name=put")],
        "form": [
            *("-o", "/dev/null", "-F", f"file=@{file}"),
            job.send(server, f"path=published/0/{size}/below/form"),
        ],
    }
    for name, way in ways.items():
        for count in (1, at_once):
            before, peak, over = resident(server.pid), [0], threading.Event()
            watcher = threading.Thread(target=watch, args=(server.pid, peak, over))
            watcher.start()
            started = time.perf_counter()
            running = [subprocess.Popen(["curl", "-sSf", *way]) for _ in range(count)]
            assert [one.wait() for one in running] == [0] * count, name
            seconds = time.perf_counter() - started
            over.set()
            watcher.join()
            speed = count * (size >> 20) / seconds
            grown = (peak[0] - before) >> 20
            print(f"{name:5} {count} at once: {speed:6.0f} MiB/s, {grown:4} MiB more", flush=True)


if __name__ == "__main__":
    main()
