"""Which process is meant: a pid is used again, so its start, boot and namespace go with it."""

import os
from typing import List, NamedTuple, Optional

HANDLE_VARIABLE = "TESP_HANDLE"
OWNER_VARIABLE = "TESP_OWNER"


class Owner(NamedTuple):
    """One process, told from every other one, on this host or another, before or after a boot."""

    pid: int
    start: int
    boot: str
    namespace: str
    host: str

    def label(self) -> str:
        """The owner as a container's label."""
        return "/".join(str(part) for part in self)

    @classmethod
    def from_label(cls, text: str) -> Optional["Owner"]:
        """The inverse of label; None for what is not ours."""
        parts = text.split("/")
        if len(parts) != 5 or not (parts[0].isdigit() and parts[1].isdigit()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2], parts[3], parts[4])


def current() -> Owner:
    """The calling process."""
    pid = os.getpid()
    return Owner(
        pid, start_of(pid) or 0, _line("/proc/sys/kernel/random/boot_id"), _namespace(), _host()
    )


def is_dead(owner: Owner, here: Owner) -> bool:
    """Whether that process has surely ended; False where it cannot be known from here."""
    if owner.boot != here.boot:
        return owner.host == here.host
    return owner.namespace == here.namespace and start_of(owner.pid) != owner.start


def is_here(owner: Owner, here: Owner) -> bool:
    """Whether that process is, or was, one that can be seen and signalled from here."""
    return (owner.boot, owner.namespace) == (here.boot, here.namespace)


def lives(owner: Owner, here: Owner) -> bool:
    """Whether that process surely runs, on this very host."""
    return is_here(owner, here) and start_of(owner.pid) == owner.start


def is_orphaned(label: str, here: Owner) -> bool:
    """Whether an owner's label names a process that has surely ended."""
    owner = Owner.from_label(label)
    return owner is not None and is_dead(owner, here)


def start_of(pid: int) -> Optional[int]:
    """When a process started, in ticks since the boot; None where it has ended."""
    try:
        with open("/proc/%d/stat" % pid, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def processes_with(variable: str) -> List["Marked"]:
    """Every process that we may look at and that was started with this variable."""
    marked = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            value = _variable(int(name), variable.encode())
            if value is not None:
                marked.append(Marked(int(name), value))
    return marked


class Marked(NamedTuple):
    """A process and the value of the variable that it was looked up by."""

    pid: int
    value: str


def _variable(pid: int, name: bytes) -> Optional[str]:
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return None
    found = [e for e in entries if e.startswith(name + b"=")]
    return found[0][len(name) + 1 :].decode("utf-8", "replace") if found else None


def _namespace() -> str:
    try:
        return str(os.stat("/proc/self/ns/pid").st_ino)
    except OSError:
        return "0"


def _host() -> str:
    return (os.uname().nodename + "+" + _line("/etc/machine-id")).replace("/", "_")


def _line(path: str) -> str:
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return ""
