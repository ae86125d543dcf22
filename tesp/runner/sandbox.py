"""The command line of bubblewrap: a task over the machine's own programs, a pure function."""

from typing import Dict, List, NamedTuple, Sequence

from tesp.runner.commands import Built, by_depth, check_image
from tesp.runner.failure import Failure
from tesp.runner.plan import RUNTIME_ERROR, Plan

# Of /etc only what programs need to find hosts, users, libraries and certificates.
_ETC = frozenset(
    [
        "resolv.conf",
        "hosts",
        "host.conf",
        "hostname",
        "gai.conf",
        "networks",
        "protocols",
        "services",
        "passwd",
        "group",
        "nsswitch.conf",
        "ca-certificates",
        "ca-certificates.conf",
        "alternatives",
        "localtime",
        "timezone",
        "mime.types",
        "os-release",
        "debian_version",
        "redhat-release",
        "bash.bashrc",
        "profile",
        "inputrc",
        "terminfo",
        "shells",
        "fonts",
        "perl",
        "R",
        "crypto-policies",
    ]
)
_ETC_BEGINNINGS = ("ld.so.", "magic", "locale.", "python3", "java-")
# Below these /etc also keeps private keys.
ETC_PARTS = ("ssl/certs", "ssl/openssl.cnf", "pki/tls/certs", "pki/ca-trust", "pki/java")
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/proc", "/dev", "/sys")
_ALONE = "--unshare-all --die-with-parent --new-session --cap-drop ALL"
_NOT_FOR_THE_TASK = ("TESP_HANDLE", "TESP_OWNER", "PWD")
_OWN_PLACES = (
    "--proc /proc --dev /dev --perms 1777 --tmpfs /tmp --perms 1777 --tmpfs /var/tmp"
    " --dir /run --symlink ../run /var/run"
)
_ENVIRON = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
}


class Machine(NamedTuple):
    """The machine's own files: what /etc holds, where /bin and its like link to (empty: a
    directory of its own), and whether cpu and memory can be limited."""

    etc: Sequence[str]
    links: Dict[str, str]
    limits: bool = False


def wrap(plan: Plan, index: int, workspace: str, machine: Machine, args_fd: int) -> Built:
    """bwrap for one executor: `env_file` is what it reads from `args_fd`, NUL-terminated.

    No variable and no path of the task is seen by `ps`, but for its command.
    """
    executor = plan.executors[index]
    check_image("sandbox", executor.image)
    args = _root(machine) + _software(plan) + _network(plan) + _mounts(plan, workspace)
    args += ["--dir", executor.workdir] if executor.workdir else []
    args += ["--chdir", executor.workdir or "/"]
    for name, value in dict(_environ(plan), **executor.env).items():
        args += ["--setenv", name, value]
    if any("\0" in a for a in args):
        raise Failure(RUNTIME_ERROR, "A path or variable of the task holds a NUL character.")
    argv = [plan.runtime.program, "--args", str(args_fd), "--"] + list(executor.command)
    return Built(argv, "\0".join(args) + "\0", {}, _warnings(plan, machine))


def _root(machine: Machine) -> List[str]:
    args = _ALONE.split() + [a for name in _NOT_FOR_THE_TASK for a in ("--unsetenv", name)]
    args += ["--ro-bind", "/usr", "/usr"]
    for path, target in sorted(machine.links.items()):
        args += ["--symlink", target, path] if target else ["--ro-bind", path, path]
    for name in sorted(machine.etc):
        if name in _ETC or name.startswith(_ETC_BEGINNINGS) or name in ETC_PARTS:
            args += ["--ro-bind-try", "/etc/" + name, "/etc/" + name]
    return args + _OWN_PLACES.split()


def _software(plan: Plan) -> List[str]:
    """The site's own trees of software, seen where they are."""
    return [a for path in plan.runtime.sandbox_paths for a in ("--ro-bind", path, path)]


def _environ(plan: Plan) -> Dict[str, str]:
    own = [path.rstrip("/") + "/bin" for path in plan.runtime.sandbox_paths]
    return dict(_ENVIRON, PATH=":".join(own + [_ENVIRON["PATH"]]))


def _network(plan: Plan) -> List[str]:
    return [] if plan.runtime.network == "none" else ["--share-net"]


def _mounts(plan: Plan, workspace: str) -> List[str]:
    args = []
    for mount in by_depth(plan.mounts):
        target = mount.target.rstrip("/")
        if not target or any(target == s or target.startswith(s + "/") for s in _SYSTEM):
            raise Failure(
                RUNTIME_ERROR,
                "The sandbox has the machine's own %s: nothing of a task"
                " can be there. Choose another path." % (target or "/"),
            )
        source = mount.source if mount.source[:1] == "/" else workspace + "/" + mount.source
        args += ["--bind" if mount.writable else "--ro-bind", source, target]
    return args


def _warnings(plan: Plan, machine: Machine) -> List[str]:
    warnings = []
    if (plan.limits.cpus or plan.limits.memory_bytes) and not machine.limits:
        warnings.append(
            "The sandbox cannot limit cpu and memory on this machine: no cgroup is writable."
        )
    if plan.limits.gpus and plan.limits.gpus != "0":
        warnings.append("The sandbox cannot hand out GPUs.")
    if plan.runtime.user:
        warnings.append("The sandbox runs as its own user, not as %s." % plan.runtime.user)
    if plan.runtime.network not in (None, "host", "none"):
        warnings.append(
            "The sandbox shares the machine's network; it does not know the network"
            " %s." % plan.runtime.network
        )
    return warnings
