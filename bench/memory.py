"""How far the server's memory grows while 2 GiB pass through it, in and out.

python -m bench.memory [--mebibytes 2048]
"""

import argparse
import re
import tempfile
import threading
import time
from pathlib import Path

from tests.peers.http_server import HttpServer
from tests.peers.tesp_server import TERMINAL, TespServer


def main() -> None:
    """Print the server's resident memory before, and its growth while the file passes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=2048)
    size = parser.parse_args().mebibytes << 20
    with tempfile.TemporaryDirectory() as directory:
        served = Path(directory) / "served"
        served.mkdir()
        with (served / "big").open("wb") as file:
            file.truncate(size)
        with HttpServer(served) as peer:
            server = TespServer(
                Path(directory) / "server", {"local": {"runtime": "sandbox"}}, warm=False
            )
            try:
                report(server.start(), peer.url, size)
            finally:
                server.kill()


def report(server: TespServer, url: str, size: int) -> None:
    """Pass the file through a task whose output is its input."""
    server.run({"executors": [{"image": "none", "command": ["true"]}]})
    before, peak, over = resident(server.pid), [0], threading.Event()
    watcher = threading.Thread(target=watch, args=(server.pid, peak, over))
    watcher.start()
    started = time.monotonic()
    task_id = server.submit(
        {
            "inputs": [{"path": "/o/big", "url": f"{url}/big"}],
            "outputs": [{"path": "/o/big", "url": f"{url}/copy"}],
            "executors": [{"image": "none", "command": ["true"]}],
        }
    )
    while (state := server.state(task_id)) not in TERMINAL:
        time.sleep(0.1)
    over.set()
    watcher.join()
    assert state == "COMPLETE", server.get(task_id)
    seconds = time.monotonic() - started
    print(f"{size >> 20} MiB in and out in {seconds:.1f} s")
    print(f"server: {before >> 20} MiB before, {(peak[0] - before) >> 20} MiB more at the most")


def watch(pid: int, peak: list[int], over: threading.Event) -> None:
    """Keep the highest figure until it is over."""
    while not over.wait(0.01):
        peak[0] = max(peak[0], resident(pid))


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


if __name__ == "__main__":
    main()
