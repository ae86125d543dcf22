"""One attempt: its executors one after another, then its outputs, then its result."""

import os
import signal
import time
from typing import Any, List, Optional

from tesp.runner import outputs, workspace
from tesp.runner.execution import Ran, check_sources, open_streams
from tesp.runner.failure import Ended, Failure
from tesp.runner.files import Tree
from tesp.runner.handover import hand_over
from tesp.runner.layout import lay_out
from tesp.runner.plan import (
    CANCELED,
    DISK_FULL,
    FAILED,
    FINISHED,
    INTERNAL,
    OUTPUT_REFUSED,
    RUNTIME_MISSING,
    TIME_LIMIT,
    ExecutorResult,
    Plan,
    Progress,
    Result,
)
from tesp.runner.process import which
from tesp.runner.streams import is_full, note
from tesp.runner.watch import Watch

FULL = "The disk of the workspace is full: ask for the room in resources.disk_gb, or write less."
KILLED = (
    "executors[%d] ended with exit code %d, though a process of it was killed for want of "
    "memory: look at what it wrote, or ask for more resources.ram_gb."
)
NEARLY_FULL_BYTES = 64 * 1024
TERMINATED = 128 + signal.SIGTERM
SETTLE_SECONDS = 0.5


class Attempt:
    """Carries out a plan in the current directory."""

    def __init__(self, plan: Plan, owner: str, watch: Watch) -> None:
        self._plan, self._owner, self._watch = plan, owner, watch
        self._ended: List[ExecutorResult] = []
        self._warnings: List[str] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._ran = False

    def carry_out(self) -> Result:
        """Run everything; whatever happens becomes a result."""
        began = time.time()
        result = self._judged(self._execute)
        self._watch.stop_clock()
        if self._ran:
            result = self._with_outputs(result)
        if result.status != CANCELED:
            result = self._handed_over(result)
        return result._replace(
            executors=self._ended,
            warnings=self._warnings,
            host=os.uname().nodename,
            start_time=began,
            end_time=time.time(),
        )

    def tidy(self) -> None:
        """Remove what runs or ran, once the result is durable."""
        if self._runtime is not None:
            self._runtime.tidy()

    def _judged(self, act: Any) -> Result:
        """The result of an act, or of how it failed: the boundary of the attempt."""
        made = Result(self._plan.handle, FINISHED)
        try:
            act()
        except Ended as error:
            return made._replace(status=error.status, message=self._sentence(error.status))
        except Failure as error:
            return made._replace(status=FAILED, reason=error.reason, message=error.message)
        except Exception as error:  # noqa: BLE001
            _note_traceback()
            return made._replace(
                status=FAILED,
                reason=DISK_FULL if is_full(error) else INTERNAL,
                message="The runner failed: %s: %s." % (type(error).__name__, error),
            )
        return made

    def _sentence(self, status: str) -> Optional[str]:
        return {
            TIME_LIMIT: "The task ran longer than its limit of %g seconds."
            % (self._plan.limits.time_seconds or 0),
            CANCELED: None,
        }[status]

    def _execute(self) -> None:
        self._watch.check()
        lay_out(self._plan)
        if self._plan.fetches:
            from tesp.runner.errands import fetch_all  # here: others start without it

            fetch_all(self._plan.fetches, self._watch)
        check_sources(self._plan.mounts)
        self._runtime = self._choose()
        for index, executor in enumerate(self._plan.executors):
            self._watch.check()
            ran = self._one(index)
            if ran.verdict is not None:
                raise Ended(ran.verdict)
            # Who ends a whole job signals its processes one after another: the command may have
            # ended by that, or without a child of its own, before the signal is here.
            self._watch.settle(SETTLE_SECONDS if ran.exit_code == TERMINATED else 0.0)
            if ran.exit_code != 0 and not executor.ignore_error:
                return

    def _choose(self) -> Any:
        plan, here = self._plan, os.getcwd()
        program = which(plan.runtime.program)
        if program is None:
            raise Failure(
                RUNTIME_MISSING,
                "There is no program %s on %s. Install it, or choose"
                " another container runtime." % (plan.runtime.program, os.uname().nodename),
            )
        self._plan = plan = plan._replace(runtime=plan.runtime._replace(program=program))
        if plan.runtime.has_engine:
            from tesp.runner.containers import Containers
            from tesp.runner.engine import Engine, environment

            self._engine = Engine(
                plan.runtime,
                program,
                environment(plan.runtime),
                self._watch.wake,
                self._watch.check,
            )
            return Containers(plan, here, self._owner, self._engine, self._watch)
        from tesp.runner.programs import Programs

        return Programs(
            plan, here, self._owner, dict(os.environ, **plan.runtime.environment), self._watch
        )

    def _one(self, index: int) -> Ran:
        streams = self._streams(index)
        try:
            ran: Ran = self._runtime.run(index, streams, lambda: self._started(index))
        finally:
            streams.close()
        self._warnings += streams.warnings + list(ran.warnings)
        self._ended.append(
            ExecutorResult(
                ran.started,
                time.time(),
                ran.exit_code,
                ran.peak_memory_bytes,
                ran.cpu_seconds,
                ran.out_of_memory,
            )
        )
        if ran.out_of_memory and (ran.exit_code == 0 or self._plan.executors[index].ignore_error):
            self._warnings.append(KILLED % (index, ran.exit_code))
        if ran.exit_code != 0 and _disk_is_full():
            self._warnings.append(FULL)
        workspace.write_progress(Progress(self._ended))
        return ran

    def _streams(self, index: int) -> Any:
        try:
            return open_streams(self._plan, index)
        except Failure:
            if not self._make_ours():
                raise
            return open_streams(self._plan, index)

    def _started(self, index: int) -> float:
        now = time.time()
        self._ran = True
        self._watch.start_clock()
        workspace.write_progress(Progress(self._ended, index, now))
        return now

    def _with_outputs(self, result: Result) -> Result:
        """The result with what was found; a refusal fails an attempt that went well."""
        manifest = None

        def collect() -> None:
            nonlocal manifest
            self._make_ours()
            manifest = outputs.collect(Tree(self._plan.mounts), self._plan.outputs)

        looked = self._judged(collect)
        if manifest is None:
            if result.status == FINISHED:
                return looked
            self._warnings.append("The outputs could not be listed: %s" % looked.message)
            return result
        self._warnings += manifest.warnings + manifest.refused
        result = result._replace(
            found=manifest.found, types=manifest.types, missing=manifest.missing
        )
        if manifest.refused and result.status == FINISHED and not self._command_failed():
            return result._replace(
                status=FAILED, reason=OUTPUT_REFUSED, message=" ".join(manifest.refused)
            )
        return result

    def _handed_over(self, result: Result) -> Result:
        """The result when what was found lies where others take it from, or was sent."""
        made = result

        def hand() -> None:
            nonlocal made
            made = hand_over(self._plan, result, self._watch)

        handed = self._judged(hand)
        if handed.status == FINISHED:
            return made
        if result.status == FINISHED:
            return made._replace(status=handed.status, reason=handed.reason, message=handed.message)
        self._warnings.append("The outputs could not be handed over: %s" % handed.message)
        return made

    def _command_failed(self) -> bool:
        return any(
            ended.exit_code != 0 and not self._plan.executors[index].ignore_error
            for index, ended in enumerate(self._ended)
        )

    def _make_ours(self) -> bool:
        """Take over what a container left as another user; True where that was done."""
        if not self._ran or os.geteuid() == 0:
            return False
        from tesp.runner import ownership

        problem, taken = "", False
        if self._engine is not None and ownership.is_needed(self._plan):
            problem = ownership.take(self._plan, self._plan.executors[0].image, self._engine)
            taken = not problem
        if problem:
            note("files of another user stay: " + problem)
        if self._plan.publish:
            ownership.open_up(self._plan)
        return taken


def _disk_is_full() -> bool:
    disk = os.statvfs(".")
    return disk.f_bavail * disk.f_frsize < NEARLY_FULL_BYTES


def _note_traceback() -> None:
    import traceback  # here: it costs the time of every start

    note(traceback.format_exc())
