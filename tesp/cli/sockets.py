"""A listening socket that a service manager keeps open for us, so that a restart refuses nobody."""

import os
import socket
from collections.abc import MutableMapping
from typing import Any

from tesp.errors import SettingsError

_FIRST_DESCRIPTOR = 3  # by systemd's protocol, sd_listen_fds(3)


def inherited(environ: MutableMapping[str, str]) -> list[socket.socket]:
    """The sockets that LISTEN_FDS hands to this process; the variables do not go further."""
    process, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()) or not count.isdecimal():
        return []
    last = _FIRST_DESCRIPTOR + int(count)
    sockets = [socket.socket(fileno=number) for number in range(_FIRST_DESCRIPTOR, last)]
    for one in sockets:
        one.set_inheritable(False)
    return sockets


def address(sockets: list[socket.socket]) -> dict[str, Any]:
    """Where one listens with them, as settings of the server; raises SettingsError."""
    if len(sockets) != 1 or sockets[0].family not in (socket.AF_INET, socket.AF_INET6):
        raise SettingsError("LISTEN_FDS: give one TCP socket, ListenStream=HOST:PORT in its unit")
    host, port = sockets[0].getsockname()[:2]
    return {"host": host, "port": port}
