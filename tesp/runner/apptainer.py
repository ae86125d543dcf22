"""Command lines of apptainer and singularity: pure functions from values."""

import re
from typing import Dict, List, Optional, Sequence

from tesp.runner.commands import FLAGS, Built, by_depth, check_image, limit_flags, mount_value
from tesp.runner.plan import Executor, Limits, Mount, Plan

_SCHEME = r"[a-z0-9-]+://|/|\./"
_IN_IMAGE = (
    r"/*$|/(tmp|var|usr|bin|sbin|lib|lib64|etc|opt|root|home|srv|proc|sys|dev)"
    r"(/|$)"
)


def execute(plan: Plan, index: int, workspace: str, image: str, limits: bool) -> Built:
    """`apptainer exec` or `singularity exec`; `limits`: cgroups v2 are delegated to us.

    The task's variables go in the environment, prefixed, where `ps` does not show them.
    """
    executor, flag = plan.executors[index], FLAGS[plan.runtime.kind]
    warnings: List[str] = []
    argv = [plan.runtime.program, "exec", "--containall", "--no-home", "--writable-tmpfs"]
    argv += limit_flags(plan.limits, flag, warnings) if limits else []
    warnings += _warnings(plan, limits)
    if plan.runtime.network not in (None, "host"):
        argv += ["--net", flag["network"], str(plan.runtime.network)]
    argv += [flag["gpus"]] if plan.limits.gpus else []
    for mount in by_depth(plan.mounts):
        argv += [flag["mount"], mount_value(mount, workspace, "ro")]
    argv += [flag["workdir"], executor.workdir] if executor.workdir else []
    argv += ["--", image] + list(executor.command)
    return Built(argv, "", _environ(plan.runtime.kind, executor, plan.limits), warnings)


def image_reference(image: str, cache: Optional[str]) -> str:
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


def _warnings(plan: Plan, limits: bool) -> List[str]:
    kind, warnings = plan.runtime.kind.capitalize(), []
    if not limits and (plan.limits.cpus or plan.limits.memory_bytes):
        warnings.append(
            "%s cannot limit cpu and memory on this machine: cgroups v2 are not"
            " delegated to its user." % kind
        )
    if plan.runtime.user:
        warnings.append(
            "%s runs the container as its own user, not as %s." % (kind, plan.runtime.user)
        )
    return warnings


def _environ(kind: str, executor: Executor, limits: Limits) -> Dict[str, str]:
    prefix = kind.upper()
    environ = {prefix + "ENV_" + k: v for k, v in executor.env.items()}
    environ[prefix + "_NO_EVAL"] = "1"  # else values would be run through a shell
    if limits.gpus and limits.gpus != "all" and not limits.gpus.isdigit():
        environ.setdefault(prefix + "ENV_CUDA_VISIBLE_DEVICES", limits.gpus)
    return environ
