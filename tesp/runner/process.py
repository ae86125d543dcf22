"""Child processes, on less than the subprocess module: they start fast and leave nothing open."""

import os
import select
import signal
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

TICK_SECONDS = 0.1
LINGER_SECONDS = 1.0  # how long a pipe is read on that a left-behind process holds open
_CHUNK = 1 << 16
_WHOLE_PIPE = 1 << 20  # the most that one holds
_PR_SET_CHILD_SUBREAPER = 36
_RESET = [signal.SIGPIPE, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]

Each = Callable[[], None]


class Sink:
    """Where the bytes of a pipe go; this one keeps them."""

    def __init__(self) -> None:
        self.data = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.data += data


class Exit(NamedTuple):
    """How a process ended: its code as a shell tells it, and what it used."""

    code: int
    cpu_seconds: float
    peak_memory_bytes: int


class Output(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str


def which(program: str) -> Optional[str]:
    """The absolute path of a program, None where there is none."""
    folders = [""] if "/" in program else os.environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.abspath(os.path.join(folder, program))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def spawn(
    argv: Sequence[str], environ: Dict[str, str], files: Sequence[int], keep: Sequence[int] = ()
) -> int:
    """Start argv[0] (a path) in a process group of its own; `files` become 0, 1 and 2.

    It is started by the calling thread: `--die-with-parent` means that thread.
    """
    args = [encode(a) for a in argv]
    env = {encode(k): encode(v) for k, v in environ.items()}
    for fd in keep:
        os.set_inheritable(fd, True)
    try:
        known = vars(os)
        if "posix_spawn" not in known:  # before Python 3.8
            return _fork(args, env, files)
        moves = [(known["POSIX_SPAWN_DUP2"], fd, i) for i, fd in enumerate(files)]
        return int(
            known["posix_spawn"](
                args[0], args, env, file_actions=moves, setpgroup=0, setsigdef=_RESET, setsigmask=[]
            )
        )
    finally:
        for fd in keep:
            os.set_inheritable(fd, False)


def encode(text: str) -> bytes:
    """Text as the system takes it, whatever the locale."""
    return text.encode("utf-8", "surrogateescape")


def wait(pid: int, options: int = 0) -> Optional[Exit]:
    """Reap a child; None where it still runs."""
    done, status, usage = os.wait4(pid, options)
    if done == 0:
        return None
    code = 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Exit(code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def adopt() -> bool:
    """Become the parent of descendants whose own parents end; whether that could be done."""
    try:
        import _ctypes  # ctypes itself takes too long to import

        library: Any = _ctypes
        prctl = library.dlsym(library.dlopen(None, 0), "prctl")
        return bool(library.call_function(prctl, (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0)
    except (ImportError, AttributeError, OSError):
        return False


def reap_adopted() -> Exit:
    """Wait until no child is left; what all of them used, the largest one's peak memory."""
    cpu_seconds, peak = 0.0, 0
    while True:
        try:
            ended = wait(-1)
        except ChildProcessError:
            return Exit(0, cpu_seconds, peak)
        if ended is not None:
            cpu_seconds += ended.cpu_seconds
            peak = max(peak, ended.peak_memory_bytes)


def pump(
    pid: int, pipes: Dict[int, Any], wake: Optional[int] = None, each: Each = lambda: None
) -> Exit:
    """Move what comes out of the pipes to their sinks until the process ends; reap it.

    `each` is called at least every TICK_SECONDS, `wake` becomes readable when a child ends.
    """
    poll, until = select.poll(), 0.0
    ended: Optional[Exit] = None
    for fd in list(pipes) + ([] if wake is None else [wake]):
        poll.register(fd, select.POLLIN)
    while ended is None or (pipes and time.monotonic() < until):
        tick = TICK_SECONDS if wake is not None or pipes else TICK_SECONDS / 10
        for fd, _ in poll.poll(tick * 1000):
            if not _move(fd, pipes.get(fd)):
                poll.unregister(fd)
                del pipes[fd]
                os.close(fd)
        each()
        if ended is None:
            ended, until = wait(pid, os.WNOHANG), time.monotonic() + LINGER_SECONDS
    ready = [fd for fd, _ in poll.poll(0)]  # who was stopped meanwhile has not read all of it
    for fd, sink in pipes.items():
        if fd in ready:
            _move(fd, sink, _WHOLE_PIPE)
        os.close(fd)
    return ended


def _move(fd: int, sink: Any, most: int = _CHUNK) -> bool:
    """Take what is there; False at the end of a pipe. Where there is no sink it only woke us."""
    data = os.read(fd, most)
    if sink is None:
        return True
    if data:
        sink.feed(data)
    return bool(data)


def run(
    argv: Sequence[str],
    environ: Dict[str, str],
    wake: Optional[int] = None,
    each: Each = lambda: None,
    keep: Sequence[int] = (),
) -> Output:
    """Run a command to its end and keep what it says; what `each` raises kills it."""
    null = os.open(os.devnull, os.O_RDWR)
    pipes = [os.pipe(), os.pipe()]
    try:
        pid = spawn(argv, environ, (null, pipes[0][1], pipes[1][1]), keep)
    finally:
        for fd in (null, pipes[0][1], pipes[1][1]):
            os.close(fd)
    out, err = Sink(), Sink()
    try:
        code = pump(pid, {pipes[0][0]: out, pipes[1][0]: err}, wake, each).code
    except BaseException:
        kill(pid)
        wait(pid)
        raise
    return Output(code, out.data.decode("utf-8", "replace"), err.data.decode("utf-8", "replace"))


def kill(pid: int, number: int = signal.SIGKILL, group: bool = False) -> None:
    """Send a signal; a process that is gone is fine."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _fork(args: List[bytes], env: Dict[bytes, bytes], files: Sequence[int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        for i, fd in enumerate(files):
            os.dup2(fd, i)
        os.execve(args[0], args, env)
    finally:
        os._exit(127)
