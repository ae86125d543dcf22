"""Who looks after what a dead runner left: its watchdog, and the next runner on the host."""

import os
import signal
import time
from typing import Any, Callable, Optional

from tesp.runner import identity
from tesp.runner.identity import OWNER_VARIABLE
from tesp.runner.plan import Plan
from tesp.runner.process import which
from tesp.runner.streams import note

SWEEP_SECONDS = 300.0
_RETRY_SECONDS = (0.0, 0.5, 2.0, 5.0)  # an engine may still be making a container


class Watchdog:
    """A process that is nobody's child and blocks on a pipe until the runner ends.

    If that was without `dismiss`, it removes what the attempt left.
    """

    def __init__(self, clean: Callable[[], object]) -> None:
        heard, self._pipe = os.pipe()
        if not detached(heard):
            os.close(heard)
            return
        try:
            if os.read(heard, 1) == b"":
                _repeat(clean)
        finally:
            os._exit(0)

    def dismiss(self) -> None:
        """The attempt left nothing."""
        os.write(self._pipe, b"x")
        os.close(self._pipe)


def needs_watchdog(plan: Plan) -> bool:
    """Whether a killed runner would leave anything behind.

    A sandbox is the first process of its own namespace and dies with its runner; only the
    group that holds it to its limits would stay.
    """
    limited = bool(plan.limits.cpus or plan.limits.memory_bytes)
    return plan.runtime.kind != "sandbox" or limited


def remove(plan: Plan) -> bool:
    """End and remove whatever runs for an attempt; whether it is gone. It may be called again."""
    if plan.runtime.has_engine:
        from tesp.runner import containers

        engine = _engine(plan)
        return engine is None or containers.remove(plan, engine)
    from tesp.runner import programs

    programs.remove(plan)
    return True


def make_ours(plan: Plan) -> None:
    """Give what a container left as another user to this one, so that it can be removed."""
    if not plan.runtime.has_engine:
        return
    from tesp.runner import ownership

    engine = _engine(plan)
    if engine is not None and ownership.is_needed(plan):
        problem = ownership.take(plan, plan.executors[0].image, engine)
        if problem:
            note("files of another user stay: " + problem)


def sweep(plan: Plan) -> None:
    """Remove what runners of this host left that have ended, and nothing else."""
    here = identity.current()
    if plan.runtime.has_engine:
        from tesp.runner import containers

        engine = _engine(plan)
        if engine is not None:
            containers.sweep(engine, here)
    else:
        from tesp.runner import programs

        programs.end(
            [
                p.pid
                for p in identity.processes_with(OWNER_VARIABLE)
                if identity.is_orphaned(p.value, here)
            ]
        )


def _engine(plan: Plan) -> Any:
    """The engine of a plan; None where this machine has none."""
    from tesp.runner.engine import Engine, environment  # here: others start without it

    program = which(plan.runtime.program)
    return program and Engine(plan.runtime, program, environment(plan.runtime))


def sweep_in_background(plan: Plan) -> None:
    """Sweep in a process of its own, unless this host was swept a moment ago."""
    if plan.runtime.kind == "sandbox" or not is_due(plan.runtime.kind, _address(plan)):
        return  # a sandbox dies with its runner
    if detached():
        try:
            os.nice(10)
            sweep(plan)
        finally:
            os._exit(0)


def detached(*keep: int) -> bool:
    """Fork twice: True in a process that no search for our descendants finds.

    It holds no file open but `keep` and the log: nobody waits for the end of a pipe of ours.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    try:
        _forget_signals()
        os.setsid()
        if os.fork():
            os._exit(0)
        for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
            if fd > 2 and fd not in keep:
                _close(fd)
    except BaseException:  # noqa: BLE001
        os._exit(1)
    return True


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass  # the one that the listing itself had open


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


def _repeat(clean: Callable[[], object]) -> None:
    for seconds in _RETRY_SECONDS:
        time.sleep(seconds)
        clean()


def is_due(kind: str, subject: str) -> bool:
    """Whether the last sweep of that subject is long enough ago; from now on it is not."""
    stamp = _stamp(kind, subject)
    if stamp is None:
        return False
    try:
        if time.time() - os.stat(stamp).st_mtime < SWEEP_SECONDS:
            return False
    except FileNotFoundError:
        pass
    try:
        with open(stamp, "w"):
            return True
    except OSError:
        return False  # no room for a stamp: each start would sweep


def _address(plan: Plan) -> str:
    environ = plan.runtime.environment
    return environ.get("DOCKER_HOST", os.environ.get("DOCKER_HOST", ""))


def _stamp(kind: str, subject: str) -> Optional[str]:
    folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), "tesp-%d" % os.geteuid())
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if os.path.islink(folder) or os.stat(folder).st_uid != os.geteuid():
            return None  # somebody else's: they could aim our stamp anywhere
    except OSError:
        return None
    return os.path.join(
        folder, "swept." + kind + "".join(c if c.isalnum() else "_" for c in subject)[-100:]
    )
