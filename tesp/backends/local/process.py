"""Processes of this machine, told apart from later ones that got the same pid."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process: pid, start time in clock ticks since boot, and the boot it belongs to."""

    pid: int
    start: int
    boot: str

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return self.boot == boot_id() and start_of(self.pid) == self.start

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it is still there."""
        if self.alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@cache
def boot_id() -> str:
    """What tells this boot of the machine from all others."""
    return _BOOT_ID.read_text().strip()


def start_of(pid: int) -> int | None:
    """When a process started, None where there is none or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])
