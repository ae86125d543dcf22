"""A TCP proxy that cuts connections after so many bytes, stalls on demand, and counts."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class CuttingProxy:
    """Forwards 127.0.0.1:`port` to another port of 127.0.0.1.

    `cut_down` and `cut_up` hold byte counts: each connection that carries a count of that
    direction takes the first one, and is cut when so many bytes went towards the client (down)
    or the server (up). `stall()` lets no byte pass until `resume()`; `stall_after(n)` does so
    once n bytes went down in all. `cut()` ends all connections now. `connections` counts those
    accepted, `down` and `up` the bytes forwarded.
    """

    def __init__(self, to_port: int, scheme: str = "http") -> None:
        self._to = to_port
        self.cut_down: list[int] = []
        self.cut_up: list[int] = []
        self.connections = self.down = self.up = 0
        self._passing = threading.Event()
        self._passing.set()
        self._stall_at: int | None = None
        self.stalled = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A thread in accept() is woken by the shutdown, not by the close alone.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.resume()
        self.cut()
        self._thread.join()

    def stall(self) -> None:
        """Hold everything back; `stalled` is set."""
        self._passing.clear()
        self.stalled.set()

    def stall_after(self, down_bytes: int) -> None:
        """Hold everything back once so many bytes in all went towards clients."""
        self._stall_at = down_bytes

    def resume(self) -> None:
        """Let bytes pass again."""
        self._stall_at = None
        self.stalled.clear()
        self._passing.set()

    def cut(self) -> None:
        """End all connections that are open now."""
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            _end(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                _end(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for source, target, down in ((server, client, True), (client, server, False)):
                threading.Thread(
                    target=self._pump, args=(source, target, down), daemon=True
                ).start()

    def _pump(self, source: socket.socket, target: socket.socket, down: bool) -> None:
        cuts = self.cut_down if down else self.cut_up
        left: int | None = None
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if left is None and cuts:
                    left = cuts.pop(0)
                data = data if left is None else data[:left]
                self._let_pass(len(data), down)
                target.sendall(data)
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        break
        for one in (source, target):
            _end(one)

    def _let_pass(self, size: int, down: bool) -> None:
        self._passing.wait()
        if down:
            self.down += size
            if self._stall_at is not None and self.down >= self._stall_at:
                self._stall_at = None
                self.stall()
                self._passing.wait()
        else:
            self.up += size


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
