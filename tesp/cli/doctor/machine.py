"""The machine: the port, the runner's interpreter, cgroups."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tesp.cli.doctor.findings import Finding, fail, ok, warn
from tesp.settings import Settings

_OLDEST_PYTHON = (3, 6)
_CGROUPS = Path("/sys/fs/cgroup")
_TRY_SECONDS = 20.0


async def machine_findings(settings: Settings) -> Sequence[Finding]:
    """All that concerns the machine itself."""
    host, port = settings.server.host, settings.server.port
    return [
        port_finding(host, port),
        await asyncio.to_thread(python_finding, settings.local.python or sys.executable),
        cgroup_finding(_CGROUPS),
    ]


def port_finding(host: str, port: int) -> Finding:
    """Whether the API can listen where the settings say."""
    what = f"port {host}:{port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return warn(
                what,
                "another program listens there (a tesp that runs?)",
                "Nothing to do where that is tesp; else choose another with --port.",
            )
        return fail(what, f"cannot listen: {error.strerror}", "Choose another host or port.")
    return ok(what, "free")


def python_finding(python: str) -> Finding:
    """Whether the interpreter of the runner can be started and is new enough."""
    what = "python of the runner"
    program = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    mend = "Set local.python to a Python of 3.6 or newer."
    try:
        done = subprocess.run(
            [python, "-I", "-S", "-c", program],
            capture_output=True,
            text=True,
            timeout=_TRY_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return fail(what, f"{python} cannot be started: {error}", mend)
    version = done.stdout.strip()
    if tuple(map(int, version.split(".")[:2])) < _OLDEST_PYTHON:
        return fail(what, f"{python} is {version}", mend)
    return ok(what, f"{python} {version}")


def cgroup_finding(mounted: Path) -> Finding:
    """Whether memory and CPU can be limited and measured."""
    what = "cgroups"
    unified = mounted / "cgroup.controllers"
    if unified.exists():
        version, present = 2, set(unified.read_text().split())
    else:
        version, present = 1, {c for c in ("cpu", "memory", "cpuacct") if (mounted / c).is_dir()}
    missing = {"cpu", "memory"} - present
    if missing:
        return warn(
            what,
            f"version {version} without {', '.join(sorted(missing))}",
            "Limits on cpu and memory may not be kept; have these controllers enabled.",
        )
    writable = os.access(mounted if version == 2 else mounted / "memory", os.W_OK)
    whose = "writable" if writable else "not writable: the sandbox cannot limit"
    return ok(what, f"version {version}, {whose}")
