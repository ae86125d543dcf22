"""Command lines of docker, podman, apptainer and singularity: pure functions from values."""

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

# Patterns are compiled where they are used: a start should not pay for all of them.

# Values that each one's env file gives back as they are; others go on the command line.
_PLAIN_VALUE = {
    "docker": r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,8000}",
    "podman": r"[A-Za-z0-9_./:@%+,=-]{0,8000}",
}
_PLAIN_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]*"
_IMAGE_OR_FILE = r"[A-Za-z0-9/.][^\s\x00-\x1f]*"
_SCHEME = r"[a-z0-9-]+://|/|\./"
_IN_IMAGE = (
    r"/*$|/(tmp|var|usr|bin|sbin|lib|lib64|etc|opt|root|home|srv|proc|sys|dev)"
    r"(/|$)"
)


class Built(NamedTuple):
    """A command line, what goes into the environment file, what goes into the environment of
    the runtime's own process, and what could not be asked for."""

    argv: List[str]
    env_file: str = ""
    environ: Dict[str, str] = {}
    warnings: List[str] = []


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
    executor, kind = plan.executors[index], plan.runtime.kind
    check_image(kind, executor.image)
    flag = FLAGS[kind]
    warnings: List[str] = []
    argv = [
        plan.runtime.program,
        "create",
        "--pull=never",
        "--log-driver=none",
        "--no-healthcheck",
        flag["name"],
        container_name(plan.handle, index),
    ]
    for label, value in (
        (TASK_LABEL, plan.task),
        (HANDLE_LABEL, plan.handle),
        (OWNER_LABEL, owner),
    ):
        argv += [flag["label"], "%s=%s" % (label, value)]
    argv += [flag["stdin"]] if executor.stdin else []
    argv += _limits(plan.limits, flag, warnings) + _gpus(plan.limits.gpus, kind)
    for key, setting in (
        ("user", plan.runtime.user),
        ("network", plan.runtime.network),
        ("workdir", executor.workdir),
        ("cgroup", cgroup),
    ):
        argv += [flag[key], setting] if setting else []
    for mount in by_depth(plan.mounts):
        argv += [flag["mount"], mount_value(mount, workspace)]
    env_file, rest = split_env(kind, executor.env)
    argv += (
        [flag["env_file"], "/proc/self/fd/%d" % env_fd] if env_fd is not None and env_file else []
    )
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


def execute(plan: Plan, index: int, workspace: str, image: str, limits: bool) -> Built:
    """`apptainer exec` or `singularity exec`; `limits`: cgroups v2 are delegated to us.

    The task's variables go in the environment, prefixed, where `ps` does not show them.
    """
    executor, kind = plan.executors[index], plan.runtime.kind
    flag = FLAGS[kind]
    warnings: List[str] = []
    argv = [plan.runtime.program, "exec", "--containall", "--no-home", "--writable-tmpfs"]
    if limits:
        argv += _limits(plan.limits, flag, warnings)
    elif plan.limits.cpus or plan.limits.memory_bytes:
        warnings.append(
            "%s cannot limit cpu and memory on this machine: cgroups v2 are not"
            " delegated to its user." % kind.capitalize()
        )
    if plan.runtime.user:
        warnings.append(
            "%s runs the container as its own user, not as %s."
            % (kind.capitalize(), plan.runtime.user)
        )
    if plan.runtime.network not in (None, "host"):
        argv += ["--net", flag["network"], str(plan.runtime.network)]
    argv += [flag["gpus"]] if plan.limits.gpus else []
    for mount in by_depth(plan.mounts):
        argv += [flag["mount"], mount_value(mount, workspace, "ro")]
    argv += [flag["workdir"], executor.workdir] if executor.workdir else []
    return Built(
        argv + ["--", image] + list(executor.command),
        "",
        _apptainer_environ(kind, executor, plan.limits),
        warnings,
    )


def apptainer_image(image: str, cache: Optional[str]) -> str:
    """The image as apptainer takes it: a SIF of the cache, a file, or docker:// and the name."""
    check_image("apptainer", image)
    if re.match(_SCHEME, image) or image.endswith(".sif"):
        return image
    return "%s/%s.sif" % (cache, re.sub(r"[/:@]", "_", image)) if cache else "docker://" + image


def needs_workdir(executor: Executor, mounts: Sequence[Mount]) -> bool:
    """Whether an apptainer container would lack the working directory.

    No mount covers it, and it is not where images have directories of their own.
    """
    workdir = executor.workdir
    covered = any(
        (workdir or "").rstrip("/") + "/" == m.target.rstrip("/") + "/"
        or (workdir or "").startswith(m.target.rstrip("/") + "/")
        for m in mounts
    )
    return bool(workdir) and not covered and not re.match(_IN_IMAGE, workdir or "/")


def _csv(field: str) -> str:
    if not any(c in field for c in ',"\r\n') and field == field.strip():
        return field
    return '"%s"' % field.replace('"', '""')


def _limits(limits: Limits, flag: Dict[str, str], warnings: List[str]) -> List[str]:
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


def _gpus(gpus: Optional[str], kind: str) -> List[str]:
    if not gpus or gpus == "0":
        return []
    flag, ids = FLAGS[kind]["gpus"], [i.strip() for i in gpus.split(",")]
    count = gpus == "all" or gpus.isdigit()
    if kind == "podman":
        names = ["all"] if gpus == "all" else [str(i) for i in range(int(gpus))] if count else ids
        return [a for name in names for a in (flag, "nvidia.com/gpu=" + name)]
    return [flag, gpus if count else '"device=%s"' % ",".join(ids)]


def _apptainer_environ(kind: str, executor: Executor, limits: Limits) -> Dict[str, str]:
    prefix = kind.upper()
    environ = {prefix + "ENV_" + k: v for k, v in executor.env.items()}
    environ[prefix + "_NO_EVAL"] = "1"  # else values would be run through a shell
    if limits.gpus and limits.gpus != "all" and not limits.gpus.isdigit():
        environ.setdefault(prefix + "ENV_CUDA_VISIBLE_DEVICES", limits.gpus)
    return environ
