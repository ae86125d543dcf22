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
from pathlib import Path
from typing import cast

import uvicorn
import uvloop

from tesp import interpreter
from tesp.api import Parts, build_api
from tesp.settings import ServerSettings
from tesp.store.sqlite import SqliteStore
from tesp.tes.rules import Limits

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


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """A request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
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
        """Take a part of an answer; its head must be in one piece and say 200."""
        if not self._parts:
            head, _, first = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *([0-9]+)", head, re.IGNORECASE)
            if not head.startswith(b"HTTP/1.1 200") or length is None:
                self._transport.abort()
                self.done.set_exception(RuntimeError(data.decode()))
                return
            self._missing = int(length[1])
            data = first
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._answered()

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
    post = request("POST", "/ga4gh/tes/v1/tasks", json.dumps(TASK).encode())
    (client,) = await asked(port, post, connections=1, seconds=0)
    task_id = json.loads(client.body)["id"]
    base = "/ga4gh/tes/v1"
    for label, message, at_once in (
        ("GET healthz", request("GET", "/healthz"), connections),
        ("POST, durable", post, connections),
        ("POST, durable", post, 1),
        ("GET one, FULL", request("GET", f"{base}/tasks/{task_id}?view=FULL"), connections),
        ("page of 256, MINIMAL", request("GET", f"{base}/tasks"), connections),
        ("page of 256, FULL", request("GET", f"{base}/tasks?view=FULL"), connections),
    ):
        before = cpu_seconds(pid)
        times = sorted(await loaded(port, message, at_once, seconds))
        cost = (cpu_seconds(pid) - before) / len(times) * 1e6
        rate = len(times) / seconds
        p50, p99 = (1000 * times[int(len(times) * q)] for q in (0.5, 0.99))
        print(
            f"{label:22} {at_once:3} connections {rate:8.0f}/s  "
            f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  server {cost:5.0f} us each"
        )


def main() -> None:
    """Start the server, measure, end it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=32)
    asked = parser.parse_args()
    listener = listen()
    with tempfile.TemporaryDirectory() as directory:
        server = multiprocessing.Process(target=serve, args=(listener, directory))
        server.start()
        try:
            port = listener.getsockname()[1]
            assert server.pid
            uvloop.run(measure(port, server.pid, asked.connections, asked.seconds))
        finally:
            server.terminate()
            server.join()


if __name__ == "__main__":
    main()
