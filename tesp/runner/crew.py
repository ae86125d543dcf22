"""Two threads that do errands, and a main thread that goes on looking whether to end."""

import os
import select
import threading
from typing import Callable, List, Optional, Sequence

from tesp.runner.process import TICK_SECONDS
from tesp.runner.watch import Watch
from tesp.runner.web import Refusal, Setback

HANDS = 2  # Pulsars and servers have few threads
TRIES = 25  # without headway: some five minutes, for a service that is away
TOLD_TRIES = 5  # where the service is there, and what is behind it fails
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 15.0

Errand = Callable[[], None]


class Stopped(BaseException):
    """The errands are over, this one too."""


class Crew:
    """Does errands in threads, which are left behind where the watch ends the attempt."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._todo: List[Errand] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._failure: Optional[BaseException] = None
        self._heard, self._bell = os.pipe()

    def do(self, errands: Sequence[Errand], finish: bool = False) -> None:
        """Do them all; raises Ended, or the first failure, after which none is begun.

        `finish`: those that are under way at a failure come to their end first.
        """
        self._todo = list(reversed(errands))
        left = min(HANDS, len(errands))
        for _ in range(left):
            threading.Thread(target=self._work, daemon=True).start()
        try:
            while left and (finish or self._failure is None):
                left -= self._ended()
                self._watch.check()
        finally:
            self._over.set()
        if self._failure is not None:
            raise self._failure

    def insist(self, act: Errand, headway: Callable[[], int] = lambda: 0) -> None:
        """Act until it goes well, with pauses; Refusal where it never does."""
        failures, told, reached, pause = 0, 0, headway(), FIRST_PAUSE_SECONDS
        while True:
            try:
                return act()
            except Setback as error:
                if headway() > reached:
                    failures, told, pause = 0, 0, FIRST_PAUSE_SECONDS
                reached, failures, told = headway(), failures + 1, told + error.told
                if failures == TRIES or told == TOLD_TRIES:
                    raise Refusal(str(error)) from error
            if self._over.wait(pause):
                raise Stopped
            pause = min(LONGEST_PAUSE_SECONDS, 2 * pause)

    def check(self) -> None:
        """Called between the blocks of an errand: raises where it is to stop."""
        if self._over.is_set():
            raise Stopped

    def _work(self) -> None:
        try:
            while self._failure is None and not self._over.is_set():
                with self._lock:
                    if not self._todo:
                        break
                    errand = self._todo.pop()
                errand()
        except Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised in the main thread
            self._failure = self._failure or error
        finally:
            os.write(self._bell, b"x")

    def _ended(self) -> int:
        """Wait a moment, or less where a thread ends or a signal comes; how many have ended."""
        ready, _, _ = select.select([self._heard, self._watch.wake], [], [], TICK_SECONDS)
        if self._watch.wake in ready:
            os.read(self._watch.wake, 4096)
        return len(os.read(self._heard, HANDS)) if self._heard in ready else 0
