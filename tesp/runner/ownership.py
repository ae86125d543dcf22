"""Files that a container left as another user: made ours, through a container.

A server that is not root can neither read nor remove what a container wrote as root.
"""

import os
import stat
from typing import Any, List

from tesp.runner.commands import (
    HANDLE_LABEL,
    OWNER_LABEL,
    container_name,
    mount_value,
    taking_handle,
)
from tesp.runner.engine import Engine
from tesp.runner.execution import WORKDIRS_DIR
from tesp.runner.identity import current
from tesp.runner.plan import Mount, Plan
from tesp.runner.process import encode, which

_LIBRARIES = ("/lib", "/lib32", "/lib64")


def is_needed(plan: Plan) -> bool:
    """Whether something in the workspace's directories is out of this user's reach."""
    if os.geteuid() == 0 or not plan.runtime.has_engine:
        return False
    return any(_out_of_reach(m.source, plan.publish) for m in _own(plan))


def open_up(plan: Plan) -> None:
    """Let this user read and remove what is his own, whatever mode it was left with."""
    for mount in _own(plan):
        _allow(encode(mount.source), 0o700)
        for folder, folders, files in os.walk(encode(mount.source)):
            for names, mode in ((folders, 0o700), (files, 0o400)):
                for name in names:
                    _allow(os.path.join(folder, name), mode)


def take(plan: Plan, image: str, engine: Engine) -> str:
    """Give the workspace's directories to this user; what went wrong, or an empty string."""
    name = container_name(plan.handle, len(plan.executors))
    engine.remove([name])
    try:
        said = engine.ask(*command(plan, image, name, which("chown") or "/usr/bin/chown"))
    finally:
        engine.remove([name])
    return "" if said.code == 0 else " ".join(said.err.split())


def command(plan: Plan, image: str, name: str, chown: str) -> List[str]:
    """`run` of that image with the machine's own chown, bound with the libraries it needs."""
    workspace = os.getcwd()
    targets: List[str] = []
    argv = ["run", "--pull=never", "--network=none", "--user=0:0"]
    argv += ["--name", name, "--label", "%s=%s" % (HANDLE_LABEL, taking_handle(plan.handle))]
    argv += ["--label", "%s=%s" % (OWNER_LABEL, current().label())]
    for path in ("/usr",) + tuple(p for p in _LIBRARIES if os.path.isdir(p)):
        argv += ["--mount", mount_value(Mount(os.path.realpath(path), path), workspace)]
    for number, mount in enumerate(_own(plan)):
        targets.append("/tesp.roots/%d" % number)
        argv += ["--mount", mount_value(mount._replace(target=targets[-1]), workspace)]
    # The root of a rootless podman is this very user.
    owner = "0:0" if plan.runtime.kind == "podman" else "%d:%d" % (os.geteuid(), os.getegid())
    argv += ["--entrypoint", os.path.realpath(chown), "--", image, "-R", "-h", "-P", owner]
    return argv + targets


def _own(plan: Plan) -> List[Mount]:
    """Writable directories of the workspace; never a site's shared one."""
    own = [m for m in plan.mounts if m.writable and not m.source.startswith("/")]
    if os.path.isdir(WORKDIRS_DIR):
        own.append(Mount(WORKDIRS_DIR, "/", True))
    return own


def _allow(path: bytes, mode: int) -> None:
    try:
        now = os.lstat(path).st_mode
        if not stat.S_ISLNK(now) and now & mode != mode:
            os.chmod(path, stat.S_IMODE(now) | mode)
    except OSError:
        pass  # another user's


def _out_of_reach(folder: str, strict: bool) -> bool:
    """Whether a directory below is not ours to empty, or a file not ours to read.

    `strict`: nor to link, which the system allows for files of one's own.
    """
    user = os.geteuid()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    continue
                if not entry.is_dir(follow_symlinks=False):
                    if entry.is_file(follow_symlinks=False) and _is_foreign(entry, strict):
                        return True
                elif entry.stat(follow_symlinks=False).st_uid != user or _out_of_reach(
                    entry.path, strict
                ):
                    return True
    except PermissionError:
        return True
    except FileNotFoundError:
        return False
    return False


def _is_foreign(entry: Any, strict: bool) -> bool:
    foreign = strict and entry.stat(follow_symlinks=False).st_uid != os.geteuid()
    return foreign or not os.access(entry.path, os.R_OK)
