"""One executor from its start to its end, whatever runs it."""

import os
import time
from typing import BinaryIO, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

from tesp.runner.failure import Failure
from tesp.runner.files import Tree
from tesp.runner.plan import RUNTIME_ERROR, TAILS_DIR, Mount, Plan
from tesp.runner.process import Exit, encode, kill, pump, spawn
from tesp.runner.spots import Refused, Uncovered, open_source
from tesp.runner.streams import Capture
from tesp.runner.watch import Watch

WORKDIRS_DIR = "workdirs"  # given to commands whose working directory the image lacks
INSIST_SECONDS = 0.5  # how often an end is asked for again
GIVE_UP_SECONDS = 30.0  # after which the runtime's own process is killed


class Streams(NamedTuple):
    """The three streams of an executor, opened."""

    stdin: int
    stdout: Capture
    stderr: Capture
    warnings: List[str]

    def close(self) -> None:
        """Close them; the tails are whole."""
        os.close(self.stdin)
        self.stdout.close()
        self.stderr.close()


def open_streams(plan: Plan, index: int) -> Streams:
    """Open what the executor reads and writes; raises Failure where that must not be."""
    executor = plan.executors[index]
    warnings: List[str] = []
    tree = Tree(plan.mounts)
    captures: List[Capture] = []
    same = executor.stdout is not None and executor.stdout == executor.stderr
    for name, path in (("stdout", executor.stdout), ("stderr", executor.stderr)):
        file: Optional[BinaryIO] = None
        try:
            if name == "stderr" and same and captures[0].file is not None:
                file = os.fdopen(os.dup(captures[0].file.fileno()), "wb", 0)
            elif path:
                file = tree.create(path)
        except Uncovered as error:
            warnings.append("%s is kept in the log alone: %s." % (name, error))
        except (Refused, OSError) as error:
            raise Failure(
                RUNTIME_ERROR,
                "%s %s cannot be written: %s. Choose a path in a"
                " directory of an output." % (name, path, error),
            ) from error
        captures.append(Capture("%s/%d.%s" % (TAILS_DIR, index, name), plan.tail_bytes, file))
    return Streams(_open_stdin(tree, executor.stdin), captures[0], captures[1], warnings)


def _open_stdin(tree: Tree, path: Optional[str]) -> int:
    if not path:
        return os.open(os.devnull, os.O_RDONLY)
    try:
        with tree.open(path) as file:
            return os.dup(file.fileno())
    except (Refused, OSError) as error:
        raise Failure(
            RUNTIME_ERROR,
            "stdin %s cannot be read: %s. Name an input, or what an"
            " earlier executor wrote." % (path, error),
        ) from error


def check_sources(mounts: Sequence[Mount]) -> None:
    """See that what is bound from outside the workspace is still what was meant; raises Failure."""
    for mount in mounts:
        if mount.source.startswith("/"):
            try:
                os.close(open_source(encode(mount.source)))
            except (Refused, OSError) as error:
                raise Failure(
                    RUNTIME_ERROR, "%s cannot be shown to the task: %s." % (mount.source, error)
                ) from error


class Follower:
    """Starts a runtime's process, keeps its streams, and ends it when the watch says so."""

    def __init__(
        self, watch: Watch, stop: Callable[[int], None], sample: Callable[[], None] = lambda: None
    ) -> None:
        self._watch, self._stop, self._sample = watch, stop, sample
        self._asked = self._first_asked = 0.0
        self.verdict: Optional[str] = None

    def follow(
        self,
        argv: Sequence[str],
        environ: Dict[str, str],
        streams: Streams,
        keep: Sequence[int] = (),
    ) -> Exit:
        """Run it to its end; a full disk ends it too."""
        (out, out_end), (err, err_end) = os.pipe(), os.pipe()
        try:
            pid = spawn(argv, environ, (streams.stdin, out_end, err_end), keep)
        except OSError as error:
            raise Failure(RUNTIME_ERROR, "The command cannot be started: %s." % error) from error
        finally:
            os.close(out_end)
            os.close(err_end)
        ended = pump(
            pid,
            {out: streams.stdout, err: streams.stderr},
            self._watch.wake,
            lambda: self._each(pid, streams),
        )
        self._raise_problem(streams)
        return ended

    def _each(self, pid: int, streams: Streams) -> None:
        streams.stdout.refresh()
        streams.stderr.refresh()
        self._sample()
        if self.verdict is None:
            self.verdict = self._watch.verdict()
        broken = streams.stdout.problem or streams.stderr.problem
        if self.verdict is None and broken is None:
            return
        now = time.monotonic()
        self._first_asked = self._first_asked or now
        if now - self._asked >= INSIST_SECONDS:
            self._asked = now
            self._stop(pid)
        if now - self._first_asked >= GIVE_UP_SECONDS:
            kill(pid, group=True)

    def _raise_problem(self, streams: Streams) -> None:
        problem = streams.stdout.problem or streams.stderr.problem
        if problem is not None:
            raise problem


class Ran(NamedTuple):
    """How an executor ended, before it is a result."""

    exit_code: int
    started: float
    peak_memory_bytes: Optional[int] = None
    cpu_seconds: Optional[float] = None
    out_of_memory: bool = False
    warnings: Tuple[str, ...] = ()
    verdict: Optional[str] = None


def bind_workdir(plan: Plan, index: int) -> Plan:
    """The plan with an empty directory of ours bound as the executor's working directory."""
    source = "%s/%d" % (WORKDIRS_DIR, index)
    os.makedirs(source, exist_ok=True)
    os.chmod(source, 0o777)  # whatever user the container has
    mount = Mount(source, plan.executors[index].workdir or "/", True)
    return plan._replace(mounts=list(plan.mounts) + [mount])
