"""How fast the API is: durable POSTs, GETs and pages, over the embedded store on two processes.

The server (uvicorn, uvloop, httptools) runs in a child process, the client here: raw sockets on
keep-alive connections. `python -m bench.api [--seconds 5] [--connections 32]`
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import re
import socket
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvicorn
import uvloop

from tesp import interpreter
from tesp.api import Parts, build_api
from tesp.settings import ServerSettings
from tesp.store.sqlite import SqliteStore
from tesp.tes.rules import Limits

BATCH = 100
TASK = {
    "name": "bench",
    "inputs": [{"url": "s3://bucket/in", "path": "/data/in", "type": "FILE"}],
    "outputs": [{"url": "s3://bucket/out", "path": "/data/out", "type": "FILE"}],
    "executors": [
        {
            "image": "alpine:3.20",
            "command": ["sh", "-c", "md5sum /data/in > /data/out " + "#" * 1000],
            "env": {f"VARIABLE_{n}": "value" * 10 for n in range(10)},
        }
    ],
    "resources": {"cpu_cores": 1, "ram_gb": 0.5},
    "tags": {"run": "bench", "workflow": "w1"},
}


def listen() -> socket.socket:
    """A socket whose connections have Nagle's algorithm off."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener


def serve(listener: socket.socket, directory: str) -> None:
    """The server's process."""

    async def run() -> None:
        store = await SqliteStore.open(Path(directory) / "tasks.sqlite")
        parts = Parts(
            store, store, ServerSettings(), Limits(), lambda *_: None, list, lambda _: "anonymous"
        )
        config = uvicorn.Config(
            build_api(parts), http="httptools", access_log=False, log_level="warning"
        )
        await uvicorn.Server(config).serve([listener])
        await store.close()

    interpreter.tune()
    uvloop.run(run())


def request(method: str, path: str, body: bytes = b"", etag: str = "") -> bytes:
    """A request as bytes."""
    known = f"If-None-Match: {etag}\r\n" if etag else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{known}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Client(asyncio.Protocol):
    """Sends one request over and over on one connection; notes how long each answer took.

    No streams, no tasks: what the client spends is taken from the server beside it.
    """

    def __init__(self, message: bytes, end: float) -> None:
        self.times: list[float] = []
        self.body = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._message, self._end = message, end
        self._parts: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._send()

    def _send(self) -> None:
        self._start = time.perf_counter()
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; its head must be in one piece."""
        if not self._parts:
            head, _, data = data.partition(b"\r\n\r\n")
            self._missing = length_of(head)
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._answered()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail, where this was not the end."""
        if not self.done.done():
            self.done.set_exception(error or RuntimeError("the server closed the connection"))

    def _answered(self) -> None:
        now = time.perf_counter()
        self.times.append(now - self._start)
        self.body = b"".join(self._parts)
        self._parts.clear()
        if now < self._end:
            self._send()
        else:
            self._transport.close()
            self.done.set_result(None)


def length_of(head: bytes) -> int:
    """The length of an answer's body; it must be a 200 or a 304."""
    if head.startswith(b"HTTP/1.1 304"):
        return 0
    length = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(head.decode())
    return int(length[1])


async def asked(port: int, message: bytes, connections: int, seconds: float) -> list[Client]:
    """Send one message over and over on many connections; 0 seconds: once on each."""
    loop, end = asyncio.get_running_loop(), time.perf_counter() + seconds
    made = [
        await loop.create_connection(lambda: Client(message, end), "127.0.0.1", port)
        for _ in range(connections)
    ]
    clients = [client for _, client in made]
    await asyncio.gather(*(client.done for client in clients))
    return clients


async def loaded(port: int, message: bytes, connections: int, seconds: float) -> list[float]:
    """The time of each answer."""
    return [t for client in await asked(port, message, connections, seconds) for t in client.times]


def cpu_seconds(pid: int) -> float:
    """What a process has had of the processors so far: the figure that other work leaves alone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, pid: int, connections: int, seconds: float) -> None:
    """Print a line for each kind of request."""
    for kind in await kinds(port, connections):
        before = cpu_seconds(pid)
        times = sorted(await loaded(port, kind.message, kind.connections, seconds))
        cost = (cpu_seconds(pid) - before) / len(times) * 1e6
        rate = len(times) / seconds
        p50, p99 = (1000 * times[int(len(times) * q)] for q in (0.5, 0.99))
        print(
            f"{kind.label:28} {kind.connections:3} connections {rate * kind.tasks:8.0f}/s  "
            f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  server {cost / kind.tasks:5.0f} us each"
        )


@dataclass(frozen=True)
class Kind:
    """What is measured: a request, on how many connections, and for how many tasks it counts."""

    label: str
    message: bytes
    connections: int
    tasks: int = 1


async def kinds(port: int, connections: int) -> list[Kind]:
    """All that is measured; 16 clients are what the goal for submits is set for."""
    tasks = "/ga4gh/tes/v1/tasks"
    document = json.dumps(TASK).encode()
    post = request("POST", tasks, document)
    batch = request("POST", f"{tasks}:batch", b'{"tasks":[%s]}' % b",".join([document] * BATCH))
    (client,) = await asked(port, post, connections=1, seconds=0)
    one = f"{tasks}/{json.loads(client.body)['id']}"
    everybody = (16, connections) if connections != 16 else (16,)
    return [
        Kind("GET healthz", request("GET", "/healthz"), connections),
        *(Kind("POST, durable", post, n) for n in (1, *everybody)),
        *(Kind(f"POST batches of {BATCH}, tasks", batch, n, BATCH) for n in (1, 4)),
        *(Kind("GET one, FULL", request("GET", f"{one}?view=FULL"), n) for n in everybody),
        Kind("page of 256, MINIMAL", request("GET", tasks), 16),
        Kind("page of 256, MINIMAL, 304", request("GET", tasks, etag="*"), 16),
        Kind("page of 256, FULL", request("GET", f"{tasks}?view=FULL"), 16),
        Kind("page of 256, FULL, 304", request("GET", f"{tasks}?view=FULL", etag="*"), 16),
    ]


def main() -> None:
    """Start the server, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    wish = parser.parse_args()
    listener = listen()
    with tempfile.TemporaryDirectory() as directory:
        server = multiprocessing.Process(target=serve, args=(listener, directory))
        server.start()
        try:
            port = listener.getsockname()[1]
            assert server.pid
            uvloop.run(measure(port, server.pid, wish.connections, wish.seconds))
        finally:
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
