"""This machine, measured. All methods block, for milliseconds."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tesp.runner.plan import CLAIM_FILE, RESULT_FILE

_log = logging.getLogger(__name__)

# What the runner is called that a task's node starts, whoever started it there.
_RUNNER, _PACKED = "runner", ".pyz"


class Machine:
    """Measures CPU, load, memory, swap, the disks of some paths, network and tasks."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._missing: set[Path] = set()
        # The first figure is of the time since this.
        psutil.cpu_percent()
        self._network = (time.monotonic(), *_network())

    def measure(self) -> Mapping[str, float]:
        """What it is now; what is a rate, since the last time."""
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        one, five, fifteen = psutil.getloadavg()
        return {
            "cpus": psutil.cpu_count() or 1,
            "cpu_percent": psutil.cpu_percent(),
            "load_1": round(one, 2),
            "load_5": round(five, 2),
            "load_15": round(fifteen, 2),
            "memory_bytes": memory.total,
            "memory_used_bytes": memory.total - memory.available,
            "memory_percent": memory.percent,
            "swap_bytes": swap.total,
            "swap_used_bytes": swap.used,
            "swap_percent": swap.percent,
            **self._traffic(),
            **self._disks(),
            "tasks": running_tasks(),
        }

    def _traffic(self) -> dict[str, float]:
        before, received_before, sent_before = self._network
        now, (received, sent) = time.monotonic(), _network()
        self._network = (now, received, sent)
        seconds = max(now - before, 1e-3)
        return {
            "network_received_bytes": received,
            "network_sent_bytes": sent,
            "network_received_per_second": round(max(received - received_before, 0) / seconds),
            "network_sent_per_second": round(max(sent - sent_before, 0) / seconds),
        }

    def _disks(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for path in self._paths:
            try:
                disk = psutil.disk_usage(str(path))
            except OSError as error:
                if path not in self._missing:
                    _log.warning("The disk of %s cannot be measured: %s", path, error.strerror)
                self._missing.add(path)
                continue
            self._missing.discard(path)
            found[f"disk_bytes:{path}"] = disk.total
            found[f"disk_used_bytes:{path}"] = disk.used
            found[f"disk_percent:{path}"] = disk.percent
        return found


def running_tasks() -> int:
    """The tasks that run here, by the workspaces of their runners: a runner stands in the one
    that it has claimed, until there is a result."""
    places = {place for process in psutil.process_iter() if (place := _workspace(process))}
    return len(places)


def _workspace(process: psutil.Process) -> str | None:
    try:
        words = process.cmdline()
        if not any(_RUNNER in word and word.endswith(_PACKED) for word in words):
            return None
        place = process.cwd()
    except (psutil.Error, OSError):
        return None
    is_running = Path(place, CLAIM_FILE).exists() and not Path(place, RESULT_FILE).exists()
    return place if is_running else None


def _network() -> tuple[int, int]:
    """Bytes received and sent since the machine was started, but for those to itself."""
    counters = psutil.net_io_counters(pernic=True)
    outer = [one for name, one in counters.items() if name != "lo"]
    return sum(one.bytes_recv for one in outer), sum(one.bytes_sent for one in outer)
