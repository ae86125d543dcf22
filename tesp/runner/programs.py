"""Executors as processes of ours: the sandbox, apptainer and singularity."""

import os
import re
import signal
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

from tesp.runner import cgroups, sandbox
from tesp.runner.cgroups import Group, Usage
from tesp.runner.execution import Follower, Ran, Streams, bind_workdir
from tesp.runner.failure import Failure
from tesp.runner.identity import HANDLE_VARIABLE, OWNER_VARIABLE, processes_with
from tesp.runner.plan import IMAGE_MISSING, RUNTIME_ERROR, Plan
from tesp.runner.process import Exit, adopt, kill, reap_adopted
from tesp.runner.streams import fill, unlinked_file
from tesp.runner.watch import Watch

SHELL = "/bin/sh"
_JOIN = 'for f in $1; do echo 0 > "$f/cgroup.procs" || exit 125; done; shift; exec "$@"'
_UNDER_USR = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")
_NO_COMMAND = r"bwrap: execvp .*: (.*)\n?\Z"
_IMAGE_WORDS = (
    r"(?is)FATAL:.*(image|docker://|manifest|unauthorized|while (pulling|building"
    r"|making)|could not open)"
)


class Programs:
    """Runs executors as child processes; what marks them is in their environment."""

    def __init__(
        self, plan: Plan, workspace: str, owner: str, environ: Dict[str, str], watch: Watch
    ) -> None:
        self._plan, self._workspace, self._watch = plan, workspace, watch
        self._marks = {HANDLE_VARIABLE: plan.handle, OWNER_VARIABLE: owner}
        self._environ = environ

    def run(self, index: int, streams: Streams, started: Callable[[], float]) -> Ran:
        """Start, follow and judge one executor."""
        if self._plan.runtime.kind == "sandbox":
            return self._sandbox(index, streams, started)
        return self._apptainer(index, streams, started)

    def tidy(self) -> None:
        """Nothing is kept of a process that has ended."""

    def _sandbox(self, index: int, streams: Streams, started: Callable[[], float]) -> Ran:
        group, args = self._group(index), unlinked_file()
        status, status_end = os.pipe()
        try:
            seen = machine(group is not None)
            built = sandbox.wrap(self._plan, index, self._workspace, seen, args)
            fill(args, built.env_file)
            argv = built.argv[:1] + ["--json-status-fd", str(status_end)] + built.argv[1:]
            start, follower, adopts = started(), Follower(self._watch, _stop), adopt()
            ended = follower.follow(_joined(argv, group), self._marks, streams, (args, status_end))
        finally:
            os.close(status_end)
            os.close(args)
        # bubblewrap does not wait for the process that waits for the command.
        used = _summed(ended, reap_adopted()) if adopts else None
        with os.fdopen(status, "rb") as file:
            began = b'"exit-code"' in file.read()
        ran = Ran(ended.code, start, warnings=tuple(built.warnings), verdict=follower.verdict)
        return judge(_metered(ran, group, used), began, streams.stderr.last())

    def _group(self, index: int) -> Optional[Group]:
        limits = self._plan.limits
        if not limits.cpus and not limits.memory_bytes:
            return None  # a group costs time, and the process's own figures will do
        return cgroups.limited(
            cgroups.parent_name(self._plan.handle, index), limits.cpus, limits.memory_bytes
        )

    def _apptainer(self, index: int, streams: Streams, started: Callable[[], float]) -> Ran:
        from tesp.runner import apptainer  # here: a sandbox starts without it

        plan = self._plan
        if apptainer.needs_workdir(plan.executors[index], plan.mounts):
            plan = bind_workdir(plan, index)
        image = apptainer.image_reference(plan.executors[index].image, plan.runtime.image_cache)
        built = apptainer.execute(plan, index, self._workspace, image, delegated())
        start = started()
        follower = Follower(self._watch, _stop)
        ended = follower.follow(
            built.argv, dict(self._environ, **dict(self._marks, **built.environ)), streams
        )
        said = streams.stderr.last()
        if ended.code == 255 and follower.verdict is None and "FATAL:" in said:
            reason = IMAGE_MISSING if re.search(_IMAGE_WORDS, said) else RUNTIME_ERROR
            raise Failure(reason, "The container was not started: %s" % " ".join(said.split()))
        return Ran(
            ended.code,
            start,
            ended.peak_memory_bytes,
            ended.cpu_seconds,
            warnings=tuple(built.warnings),
            verdict=follower.verdict,
        )


def judge(ran: Ran, began: bool, said: str) -> Ran:
    """Tell the program's own exit code from a failure of the sandbox; raises Failure for that."""
    words = re.search(_NO_COMMAND, said) if ran.exit_code == 1 else None
    if words and ran.verdict is None:
        code = 127 if "No such file" in words.group(1) else 126
        warning = "The command was not started: %s." % words.group(1).strip()
        return ran._replace(exit_code=code, warnings=ran.warnings + (warning,))
    if not began and ran.verdict is None and not ran.out_of_memory:
        if ran.exit_code > 128:
            sentence = "The sandbox was ended from outside, by signal %d."
            raise Failure(RUNTIME_ERROR, sentence % (ran.exit_code - 128))
        raise Failure(
            RUNTIME_ERROR,
            "The sandbox was not started: %s."
            % (" ".join(said.split()) or "it ended with code %d" % ran.exit_code),
        )
    return ran


def machine(limits: bool) -> sandbox.Machine:
    """What the sandbox needs to know of this machine."""
    links = {
        path: os.readlink(path) if os.path.islink(path) else ""
        for path in _UNDER_USR
        if os.path.lexists(path)
    }
    etc = os.listdir("/etc") + [p for p in sandbox.ETC_PARTS if os.path.exists("/etc/" + p)]
    return sandbox.Machine(etc, links, limits)


def delegated() -> bool:
    """Whether apptainer can limit what it runs: it is root's, or its user has cgroups v2."""
    bus = os.path.join(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent"), "systemd")
    return cgroups.is_unified() and (os.geteuid() == 0 or os.path.isdir(bus))


def remove(plan: Plan) -> None:
    """End the processes that an attempt left, and remove the groups made for it."""
    end([p.pid for p in processes_with(HANDLE_VARIABLE) if p.value == plan.handle])
    for index in range(len(plan.executors)):
        cgroups.own_group(cgroups.parent_name(plan.handle, index)).remove()


def end(pids: Sequence[int]) -> None:
    """Kill processes and their groups, and wait until they are gone."""
    for pid in pids:
        kill(pid, group=True)
        kill(pid)
    until = time.monotonic() + 5
    while any(os.path.exists("/proc/%d" % p) for p in pids) and time.monotonic() < until:
        time.sleep(0.02)


def _stop(pid: int) -> None:
    kill(pid, signal.SIGKILL, group=True)


def _joined(argv: List[str], group: Optional[Group]) -> List[str]:
    """The command, started inside a group: by a shell that joins it and then becomes it."""
    if group is None:
        return argv
    return [SHELL, "-c", _JOIN, "sh", " ".join(group.folders)] + argv


def _summed(first: Exit, rest: Exit) -> Exit:
    return rest._replace(code=first.code, cpu_seconds=first.cpu_seconds + rest.cpu_seconds)


def _metered(ran: Ran, group: Optional[Group], used: Optional[Exit]) -> Ran:
    """With the figures of the group, or else those of the processes, where all were seen."""
    if group is None:
        return ran if used is None else ran._replace(**_figures(used))
    usage, killed = group.usage(), group.killed_for_memory()
    group.remove()
    return ran._replace(out_of_memory=killed, **_figures(usage))


def _figures(used: Union[Exit, Usage]) -> Dict[str, Any]:
    return {"peak_memory_bytes": used.peak_memory_bytes, "cpu_seconds": used.cpu_seconds}
