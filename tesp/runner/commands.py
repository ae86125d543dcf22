"""What runtimes call what we ask for, and the command lines of docker and podman: pure."""

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from tesp.runner.failure import Failure
from tesp.runner.plan import IMAGE_MISSING, Executor, Limits, Mount, Plan

MEMORY_FLOOR = 6 << 20  # docker refuses less
TASK_LABEL, HANDLE_LABEL, OWNER_LABEL = "tesp.task", "tesp.handle", "tesp.owner"

_DOCKER = {
    "name": "--name",
    "label": "--label",
    "mount": "--mount",
    "workdir": "--workdir",
    "env": "--env",
    "env_file": "--env-file",
    "user": "--user",
    "network": "--network",
    "cpus": "--cpus",
    "memory": "--memory",
    "swap": "--memory-swap",
    "gpus": "--gpus",
    "stdin": "--interactive",
    "cgroup": "--cgroup-parent",
    "entrypoint": "--entrypoint",
}
_APPTAINER = {
    "mount": "--mount",
    "workdir": "--pwd",
    "network": "--network",
    "cpus": "--cpus",
    "memory": "--memory",
    "swap": "--memory-swap",
    "gpus": "--nv",
}

# What each runtime calls what we ask for. What is not here it cannot do.
FLAGS: Dict[str, Dict[str, str]] = {
    "docker": _DOCKER,
    "podman": dict(_DOCKER, gpus="--device"),
    "apptainer": _APPTAINER,
    "singularity": _APPTAINER,
    "sandbox": {"writable": "--bind", "readable": "--ro-bind", "workdir": "--chdir"},
}

# An engine pulls when we say so; what a command says goes to us alone; nothing runs beside it.
_ALWAYS = ("--pull=never", "--log-driver=none", "--no-healthcheck")

# Patterns are compiled where they are used: a start should not pay for all of them.

# Values that each one's env file gives back as they are; others go on the command line.
_PLAIN_VALUE = {
    "docker": r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,8000}",
    "podman": r"[A-Za-z0-9_./:@%+,=-]{0,8000}",
}
_PLAIN_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]*"
_IMAGE_OR_FILE = r"[A-Za-z0-9/.][^\s\x00-\x1f]*"


class Built(NamedTuple):
    """A command line, what goes into the environment file, what goes into the environment of
    the runtime's own process, and what could not be asked for."""

    argv: List[str]
    env_file: str = ""
    environ: Dict[str, str] = {}
    warnings: List[str] = []


def taking_handle(handle: str) -> str:
    """The handle of the container that gives an attempt's files to us: it is none of the
    attempt's own, which may be removed at any time."""
    return handle + ".take"


def container_name(handle: str, index: int) -> str:
    """The name of the container of one executor."""
    return "tesp-%s-%d" % (re.sub(r"[^A-Za-z0-9_.-]", "_", handle), index)


def check_image(kind: str, image: str) -> None:
    """Raise Failure where an image is no image reference; an option never is one."""
    pattern = _IMAGE if kind in ("docker", "podman") else _IMAGE_OR_FILE
    if not re.fullmatch(pattern, image):
        raise Failure(
            IMAGE_MISSING,
            "%r is not an image reference. Name an image as registry/repository:tag." % image,
        )


def create(
    plan: Plan,
    index: int,
    owner: str,
    workspace: str,
    cgroup: Optional[str] = None,
    env_fd: Optional[int] = None,
) -> Built:
    """`docker create` or `podman create` for one executor."""
    executor, flag = plan.executors[index], FLAGS[plan.runtime.kind]
    check_image(plan.runtime.kind, executor.image)
    warnings: List[str] = []
    argv = [plan.runtime.program, "create"] + list(_ALWAYS)
    argv += [flag["name"], container_name(plan.handle, index)] + _labels(plan, owner)
    argv += [flag["stdin"]] if executor.stdin else []
    argv += limit_flags(plan.limits, flag, warnings) + _gpus(plan.limits.gpus, plan.runtime.kind)
    argv += _places(plan, executor, cgroup)
    for mount in by_depth(plan.mounts):
        argv += [flag["mount"], mount_value(mount, workspace)]
    env_file, rest = split_env(plan.runtime.kind, executor.env)
    if env_file and env_fd is not None:
        argv += [flag["env_file"], "/proc/self/fd/%d" % env_fd]
    argv += [a for pair in rest for a in (flag["env"], "%s=%s" % pair)]
    argv += [flag["entrypoint"], "", "--", executor.image] + list(executor.command)
    return Built(argv, env_file, {}, warnings)


def start(plan: Plan, index: int) -> List[str]:
    """The command that starts a created container and stays with it to its end."""
    stdin = ["--interactive"] if plan.executors[index].stdin else []
    return (
        [plan.runtime.program, "start", "--attach"] + stdin + [container_name(plan.handle, index)]
    )


def mount_value(mount: Mount, workspace: str, readonly: str = "readonly") -> str:
    """The CSV of `--mount`: paths may hold colons, commas, quotes and line feeds."""
    source = mount.source if mount.source.startswith("/") else workspace + "/" + mount.source
    fields = ["type=bind", "source=" + source, "target=" + mount.target]
    return ",".join(_csv(f) for f in fields + ([] if mount.writable else [readonly]))


def by_depth(mounts: Sequence[Mount]) -> List[Mount]:
    """Mounts in an order in which none hides another."""
    return sorted(mounts, key=lambda m: m.target.rstrip("/").count("/"))


def split_env(kind: str, env: Dict[str, str]) -> Tuple[str, List[Tuple[str, str]]]:
    """What an env file can carry, which `ps` does not show, and the rest."""
    plain = _PLAIN_VALUE[kind]
    fits = {k for k, v in env.items() if re.fullmatch(_PLAIN_NAME, k) and re.fullmatch(plain, v)}
    text = "".join("%s=%s\n" % (k, v) for k, v in env.items() if k in fits)
    return text, [(k, v) for k, v in env.items() if k not in fits]


def limit_flags(limits: Limits, flag: Dict[str, str], warnings: List[str]) -> List[str]:
    """What limits cpu and memory; where less than an engine takes is asked for, with a warning."""
    argv = []
    if limits.cpus:
        argv += [flag["cpus"], ("%.3f" % max(limits.cpus, 0.01)).rstrip("0").rstrip(".")]
    if limits.memory_bytes:
        memory = max(limits.memory_bytes, MEMORY_FLOOR)
        if memory > limits.memory_bytes:
            warnings.append(
                "The memory limit was raised from %d to %d bytes, the least that a"
                " container can have." % (limits.memory_bytes, memory)
            )
        argv += [flag["memory"], str(memory), flag["swap"], str(memory)]
    return argv


def _labels(plan: Plan, owner: str) -> List[str]:
    flag = FLAGS[plan.runtime.kind]["label"]
    labels = ((TASK_LABEL, plan.task), (HANDLE_LABEL, plan.handle), (OWNER_LABEL, owner))
    return [a for pair in labels for a in (flag, "%s=%s" % pair)]


def _places(plan: Plan, executor: Executor, cgroup: Optional[str]) -> List[str]:
    """As whom, in which network, directory and control group a command runs."""
    flag = FLAGS[plan.runtime.kind]
    places = (
        ("user", plan.runtime.user),
        ("network", plan.runtime.network),
        ("workdir", executor.workdir),
        ("cgroup", cgroup),
    )
    return [a for key, value in places if value for a in (flag[key], value)]


def _csv(field: str) -> str:
    if not any(c in field for c in ',"\r\n') and field == field.strip():
        return field
    return '"%s"' % field.replace('"', '""')


def _gpus(gpus: Optional[str], kind: str) -> List[str]:
    if not gpus or gpus == "0":
        return []
    flag, ids = FLAGS[kind]["gpus"], [i.strip() for i in gpus.split(",")]
    count = gpus == "all" or gpus.isdigit()
    if kind == "podman":
        names = ["all"] if gpus == "all" else [str(i) for i in range(int(gpus))] if count else ids
        return [a for name in names for a in (flag, "nvidia.com/gpu=" + name)]
    return [flag, gpus if count else '"device=%s"' % ",".join(ids)]
