"""An attempt that is ended while its last command ends by itself."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tesp.runner.attempt import Attempt
from tesp.runner.execution import Ran
from tesp.runner.plan import CANCELED, FINISHED, TAILS_DIR, Executor, Plan, Runtime
from tesp.runner.watch import Watch

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Scripted:
    """Its command ends with this code; meanwhile, or right after, somebody does something."""

    def __init__(self, code: int, act: Callable[[], None]) -> None:
        self._code, self._act = code, act

    def run(self, index: int, streams: Any, started: Callable[[], float]) -> Ran:
        began = started()
        self._act()
        return Ran(self._code, began)


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """One that takes signals of this process, in a workspace."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / TAILS_DIR).mkdir()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    watch = Watch(None)
    watch.listen()
    yield watch
    for late in threading.enumerate():
        if isinstance(late, threading.Timer):
            late.join()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def soon() -> None:
    threading.Timer(0.05, terminate).start()


@pytest.mark.parametrize(
    ("code", "act", "status"),
    [
        (0, lambda: None, FINISHED),
        (0, terminate, CANCELED),
        (143, lambda: None, FINISHED),
        (143, terminate, CANCELED),
        (143, soon, CANCELED),
    ],
)
def test_a_signal_that_comes_as_the_last_command_ends_is_heard(
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    act: Callable[[], None],
    status: str,
) -> None:
    plan = Plan("t", "t-1", Runtime("sandbox", "bwrap"), [Executor("i", ["true"])])
    attempt = Attempt(plan, "owner", watch)
    monkeypatch.setattr(attempt, "_choose", lambda: Scripted(code, act))
    if act is soon:
        monkeypatch.setattr("tesp.runner.attempt.SETTLE_SECONDS", 10.0)
    assert attempt.carry_out().status == status
