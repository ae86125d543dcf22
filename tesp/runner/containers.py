"""Executors as containers of docker or podman."""

import os
import re
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from tesp.runner import cgroups, commands
from tesp.runner.cgroups import Group, Usage
from tesp.runner.engine import Engine
from tesp.runner.execution import Follower, Ran, Streams, bind_workdir
from tesp.runner.failure import Ended, Failure
from tesp.runner.identity import Owner, current, is_orphaned
from tesp.runner.plan import RUNTIME_ERROR, Plan
from tesp.runner.streams import fill, unlinked_file
from tesp.runner.watch import Watch

LATE_SECONDS = 1.0
# The kernel kills at the limit; a group's peak may miss it by what a processor takes at once.
NEAR_THE_LIMIT = 0.9

_NO_WORKDIR = r"workdir .* does not exist on container"
# What the command itself is to blame for, in the engine's words.
_NO_COMMAND = r'exec: "|exec /|executable file|exec format error'
_ABSENT = r"not found|[nN]o such file"


class Containers:
    """Runs executors in containers that keep their names until `tidy`."""

    def __init__(
        self, plan: Plan, workspace: str, owner: str, engine: Engine, watch: Watch
    ) -> None:
        self._plan, self._workspace, self._owner = plan, workspace, owner
        self._engine, self._watch = engine, watch
        self._names: Set[str] = set()
        self._interrupted = False

    def run(self, index: int, streams: Streams, started: Callable[[], float]) -> Ran:
        """Run one container; where podman finds no such working directory, give it one."""
        try:
            return self._run(self._plan, index, streams, started)
        except Failure as failure:
            if not re.search(_NO_WORKDIR, failure.message):
                raise
        self._engine.remove([commands.container_name(self._plan.handle, index)])
        streams.stdout.forget()
        streams.stderr.forget()
        return self._run(bind_workdir(self._plan, index), index, streams, started)

    def _run(self, plan: Plan, index: int, streams: Streams, started: Callable[[], float]) -> Ran:
        """Create, start, follow and judge one container."""
        name = commands.container_name(self._plan.handle, index)
        parent = cgroups.parent_name(plan.handle, index) if cgroups.can_be_parent() else None
        self._names.add(name)  # before it is made: the engine may make it and not say so
        container, warnings = self._create(plan, index, parent)
        meter = _Meter(container, parent)
        start = started()
        follower = Follower(self._watch, lambda pid: self._engine.kill(name), meter.sample)
        argv = commands.start(self._plan, index)
        code = follower.follow(argv, self._engine.environ, streams).code
        usage = meter.read()
        ran = Ran(code, start, *usage, warnings=tuple(warnings), verdict=follower.verdict)
        if tells_all(ran, self._plan.limits.memory_bytes, meter.is_exact):
            return ran
        judged = judge(self._engine.state(name), ran, streams.stderr.last())
        killed = meter.killed_for_memory() or at_limit(judged, self._plan.limits.memory_bytes)
        return judged._replace(out_of_memory=judged.out_of_memory or killed)

    def tidy(self) -> None:
        """Remove the containers of this attempt: the result is durable."""
        _remove(self._engine, sorted(self._names), self._plan.handle)
        if self._interrupted:  # the engine may have gone on making it
            time.sleep(LATE_SECONDS)
            remove(self._plan, self._engine)

    def _create(self, plan: Plan, index: int, parent: Optional[str]) -> Tuple[str, List[str]]:
        fd, image = unlinked_file(), self._plan.executors[index].image
        try:
            built = commands.create(plan, index, self._owner, self._workspace, parent, fd)
            fill(fd, built.env_file)
            return self._engine.create(built.argv, image, [fd]), built.warnings
        except Ended:
            self._interrupted = True
            raise
        finally:
            os.close(fd)


def tells_all(ran: Ran, limit: Optional[int], exact: bool) -> bool:
    """Whether the engine need not be asked: a command went well, and had memory to spare.

    Other exit codes may be those of the engine's own command line, and a command may end well
    when the kernel has killed one of its processes. `exact`: the peak memory is no sample.
    """
    if ran.exit_code != 0 or ran.verdict is not None:
        return False
    peak = ran.peak_memory_bytes or 0  # 0 where a kernel does not count what lies below a group
    return limit is None or (exact and 0 < peak < NEAR_THE_LIMIT * limit)


def at_limit(ran: Ran, limit: Optional[int]) -> bool:
    """Whether a killed command had all the memory it may have.

    Podman does not tell, and docker hears of it beside the command's end, at times after it.
    The kernel counts in whole pages.
    """
    full = limit is not None and (ran.peak_memory_bytes or 0) > limit - cgroups.PAGE_BYTES
    return ran.exit_code == 137 and ran.verdict is None and full


def judge(state: Optional[Dict[str, Any]], ran: Ran, said: str) -> Ran:
    """Tell the program's own exit code from a failure of the engine; raises Failure for that."""
    if state is None or state.get("Running"):
        if ran.verdict is not None:
            return ran._replace(exit_code=137)
        raise Failure(
            RUNTIME_ERROR,
            "The engine was lost while the container ran: %s."
            % (" ".join(said.split()) or "its command line was ended"),
        )
    code, error = int(state.get("ExitCode", ran.exit_code)), str(state.get("Error") or "")
    never_ran = str(state.get("StartedAt", "0001")).startswith("0001")
    if never_ran and ran.verdict is None:
        words = error or " ".join(said.split())
        if re.search(_NO_COMMAND, words) and "mount" not in words:
            absent = re.search(_ABSENT, words)
            warning = "The command was not started: %s." % words
            return ran._replace(
                exit_code=127 if absent else 126, warnings=ran.warnings + (warning,)
            )
        raise Failure(RUNTIME_ERROR, "The container was not started: %s." % words)
    return ran._replace(
        exit_code=code if not never_ran else 137, out_of_memory=bool(state.get("OOMKilled"))
    )


def remove(plan: Plan, engine: Engine) -> bool:
    """Remove what an attempt left in the engine, and the groups made for it; whether it is gone.

    Who gives its files to this user just now is let finish.
    """
    here, taking = current(), engine.ours(commands.taking_handle(plan.handle))
    left = engine.ours(plan.handle) + [c for c in taking if is_orphaned(c.owner, here)]
    return _remove(engine, [container.id for container in left], plan.handle)


def sweep(engine: Engine, here: Owner) -> None:
    """Remove the containers whose runners on this host have surely ended."""
    orphans = [c for c in engine.ours() if is_orphaned(c.owner, here)]
    engine.remove([container.id for container in orphans])
    for container in orphans if cgroups.can_be_parent() else ():
        cgroups.remove_parents(container.handle)


def _remove(engine: Engine, containers: Sequence[str], handle: str) -> bool:
    gone = engine.remove(containers)
    if cgroups.can_be_parent():
        cgroups.remove_parents(handle)
    return gone


class _Meter:
    """What a container uses: exactly, from a group of ours around it, or else sampled."""

    def __init__(self, container: str, parent: Optional[str]) -> None:
        self._container = container
        self._parent = cgroups.parent_group(parent) if parent else None
        self._group: Optional[Group] = None
        self._usage = Usage()
        self._next = 0.0
        self.is_exact = self._parent is not None

    def sample(self) -> None:
        """Look at the running container's group, where there is none of ours."""
        if self._parent is not None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.1
        self._group = self._group or cgroups.container_group(self._container)
        if self._group is not None:
            usage = self._group.usage()
            self._usage = Usage(
                _larger(self._usage.peak_memory_bytes, usage.peak_memory_bytes),
                _larger(self._usage.cpu_seconds, usage.cpu_seconds),
            )

    def read(self) -> Usage:
        """The figures, when the container has ended."""
        return self._usage if self._parent is None else self._parent.usage()

    def killed_for_memory(self) -> bool:
        """Whether a group of ours knows of it: version 2 counts what happens below, too."""
        return self._parent is not None and self._parent.killed_for_memory()


def _larger(one: Any, other: Any) -> Any:
    known = [x for x in (one, other) if x is not None]
    return max(known) if known else None
