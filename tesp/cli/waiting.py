"""Waiting for tasks to end, and showing how they come along."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Self

from tesp.cli.pauses import Pauses
from tesp.cli.service import Service, state_of
from tesp.cli.terminal import note
from tesp.errors import TespError
from tesp.tes.states import TERMINAL, State

# For how long the service is to hold its answer back: less than it takes to give up on one.
_HELD_SECONDS = 20.0


class TimeIsUp(TespError):
    """The tasks did not end in the time given."""


class Progress:
    """Each change of a state on a line of standard error; on a terminal a live line below."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._status: Any = None
        self._started = time.monotonic()
        self._known: dict[str, State] = {}

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = self._exit.enter_context(Console(stderr=True).status(""))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def show(self, states: dict[str, State]) -> bool:
        """Show what is new; whether something is."""
        changed = {i: s for i, s in states.items() if self._known.get(i) is not s}
        for task_id, state in changed.items():
            clock = datetime.now().astimezone().isoformat(" ", "milliseconds")[11:23]
            note(f"{clock}  {task_id}  {state}  +{self._elapsed():.1f} s")
        self._known.update(changed)
        if self._status:
            self._status.update(self._line())
        return bool(changed)

    def _line(self) -> str:
        going = Counter(s for s in self._known.values() if s not in TERMINAL)
        return f"{', '.join(f'{n} {s}' for s, n in going.items())} · {self._elapsed():.0f} s"

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def wait_for(
    service: Service, task_ids: Sequence[str], progress: Progress, timeout_seconds: float | None
) -> dict[str, State]:
    """The states that the tasks ended in; raises TimeIsUp."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    pauses = Pauses()
    states: dict[str, State] = {}
    while True:
        going = [i for i in dict.fromkeys(task_ids) if states.get(i) not in TERMINAL]
        states |= {i: state_of(service.task(i)) for i in going}
        if progress.show(states):
            pauses.news()
        if all(s in TERMINAL for s in states.values()):
            return states
        left = [i for i, state in states.items() if state not in TERMINAL]
        pause = _HELD_SECONDS if service.waits and len(left) == 1 else next(pauses)
        if deadline is not None and time.monotonic() + pause > deadline:
            pause = max(0.0, deadline - time.monotonic())
            if pause == 0.0:
                raise TimeIsUp(_unfinished(states))
        service.linger(left[0], states[left[0]], pause)


def _unfinished(states: dict[str, State]) -> str:
    going = [f"{i} is {s}" for i, s in states.items() if s not in TERMINAL]
    return f"The time is up: {', '.join(going)}. They go on."
