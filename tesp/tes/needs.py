"""What a task asks of a backend."""

from collections.abc import Mapping
from dataclasses import dataclass, field

GIGABYTE = 10**9


def in_bytes(gigabytes: float) -> int:
    """A size as people write it, in bytes; everybody rounds as this does, or what is just allowed
    does not just fit."""
    return round(gigabytes * GIGABYTE)


@dataclass(frozen=True, slots=True)
class Needs:
    """What a task needs of a backend. `parameters` are backend parameters, keys lower case."""

    cpus: float = 0.0
    ram_bytes: int = 0
    disk_bytes: int = 0
    preemptible: bool = False
    zones: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
