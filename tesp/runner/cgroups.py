"""Control groups, version 1 and 2: what a container used, and limits for a sandbox."""

import os
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

ROOT = "/sys/fs/cgroup"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PEAK = ("memory.peak", "memory.max_usage_in_bytes")
_CONTROLLERS = ("memory", "cpu", "cpuacct")


class Usage(NamedTuple):
    """Peak memory and CPU seconds; None where unknown."""

    peak_memory_bytes: Optional[int] = None
    cpu_seconds: Optional[float] = None


def is_unified() -> bool:
    """Whether this machine has cgroups version 2 alone."""
    return os.path.exists(ROOT + "/cgroup.controllers")


def parent_name(handle: str, index: int) -> str:
    """The group that we put one executor's container into."""
    return "/tesp.%s.%d" % ("".join(c if c.isalnum() else "_" for c in handle), index)


def can_be_parent() -> bool:
    """Whether an engine takes a group of ours, and we can remove it: figures then outlive the
    container. Under systemd groups are slices, and systemd's to remove."""
    return os.geteuid() == 0 and not os.path.isdir("/run/systemd/system")


class Group(NamedTuple):
    """One group: its directory in each hierarchy."""

    folders: Sequence[str]

    def usage(self) -> Usage:
        """What its processes have used so far, ended ones too."""
        return Usage(self._first(_PEAK), self._cpu())

    def killed_for_memory(self) -> bool:
        """Whether a process of the group was killed at the memory limit; in version 2, or of
        a group below, an ended one too."""
        return any(
            self._keyed(file, "oom_kill") for file in ("memory.events", "memory.oom_control")
        )

    def remove(self) -> None:
        """Remove its directories and those that an engine made below; what is busy stays."""
        for top in self.folders:
            for folder, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass

    def _first(self, files: Sequence[str]) -> Optional[int]:
        for folder in self.folders:
            for file in files:
                text = _read(os.path.join(folder, file))
                if text.strip().isdigit():
                    return int(text)
        return None

    def _cpu(self) -> Optional[float]:
        nanoseconds = self._first(("cpuacct.usage",))
        if nanoseconds is not None:
            return nanoseconds / 1e9
        microseconds = self._keyed("cpu.stat", "usage_usec")
        return None if microseconds is None else microseconds / 1e6

    def _keyed(self, file: str, key: str) -> Optional[int]:
        for folder in self.folders:
            for line in _read(os.path.join(folder, file)).splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    return int(value)
        return None


def parent_group(name: str) -> Group:
    """The group of that name below the root, in every hierarchy."""
    if is_unified():
        return Group([ROOT + name])
    return Group([ROOT + "/" + h + name for h in _hierarchies()])


def remove_parents(handle: str) -> None:
    """Remove the groups that were made for the containers of an attempt."""
    stem = parent_name(handle, 0)[1:-1]
    for base in [ROOT] if is_unified() else [ROOT + "/" + h for h in _hierarchies()]:
        Group([base + "/" + n for n in os.listdir(base) if n.startswith(stem)]).remove()


def container_group(container: str) -> Optional[Group]:
    """The group of a running docker container, where this machine can see it."""
    bases = [ROOT] if is_unified() else [ROOT + "/" + c for c in _CONTROLLERS]
    for below in (
        "docker/%s",
        "system.slice/docker-%s.scope",
        "machine.slice/libpod-%s.scope",
        "libpod_parent/libpod-%s",
    ):
        folders = [base + "/" + below % container for base in bases]
        if any(os.path.isdir(f) for f in folders):
            return Group(folders)
    return None


def limited(name: str, cpus: Optional[float], memory_bytes: Optional[int]) -> Optional[Group]:
    """A new group with these limits, for processes of ours; None where that cannot be."""
    folders: List[str] = []
    for base in _own_bases():
        folder = base.rstrip("/") + name
        try:
            if not os.path.isdir(folder):
                os.mkdir(folder)
            folders.append(folder)
        except OSError:
            Group(folders).remove()
            return None
    try:
        for folder in folders:
            _limit(folder, cpus, memory_bytes)
    except OSError:
        Group(folders).remove()
        return None
    return Group(folders) if folders else None


def own_group(name: str) -> Group:
    """Where `limited` would have made that group."""
    return Group([base.rstrip("/") + name for base in _own_bases()])


def _limit(folder: str, cpus: Optional[float], memory_bytes: Optional[int]) -> None:
    settings = _settings(cpus, memory_bytes)
    for file, value in settings:
        path = os.path.join(folder, file)
        if os.path.exists(path):
            with open(path, "w") as out:
                out.write(value)


def _settings(cpus: Optional[float], memory_bytes: Optional[int]) -> List[Tuple[str, str]]:
    settings = []
    if memory_bytes:
        for file in ("memory.max", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            settings.append((file, str(memory_bytes)))
        settings.append(("memory.swap.max", "0"))
    if cpus:
        quota = str(max(1000, int(cpus * 100000)))
        settings += [
            ("cpu.max", quota + " 100000"),
            ("cpu.cfs_period_us", "100000"),
            ("cpu.cfs_quota_us", quota),
        ]
    return settings


def _own_bases() -> List[str]:
    """Where groups for our children can be made: in our own group (version 1), or in the
    nearest one above that hands on its controllers (version 2)."""
    own = _own_paths()
    if not is_unified():
        found = {
            os.path.realpath(ROOT + "/" + c): own.get(c, "/")
            for c in _CONTROLLERS
            if os.path.isdir(ROOT + "/" + c)
        }
        return sorted(
            base + (path if os.path.isdir(base + path) else "/") for base, path in found.items()
        )
    path = own.get("", "/")
    while path != "/":
        path = os.path.dirname(path)
        if {"memory", "cpu"} <= set(_read(ROOT + path + "/cgroup.subtree_control").split()):
            return [ROOT + path]
    return []


def _own_paths() -> Dict[str, str]:
    paths = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _hierarchies() -> List[str]:
    return [h for h in os.listdir(ROOT) if os.path.isdir(os.path.join(ROOT, h))]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
