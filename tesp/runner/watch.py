"""Whether the attempt has to end: a signal, the server's cancel file, or the time limit."""

import os
import signal
import time
from typing import Any, Optional

from tesp.runner.failure import Ended
from tesp.runner.plan import CANCEL_FILE, CANCELED, TIME_LIMIT

_LOOK_SECONDS = 0.01


class Watch:
    """Looks at what may end the attempt. `wake` becomes readable when a signal comes."""

    def __init__(self, time_seconds: Optional[float]) -> None:
        self._time_seconds = time_seconds
        self._deadline: Optional[float] = None
        self._signaled = False
        self.wake, self._bell = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._bell, False)

    def listen(self) -> None:
        """Take SIGTERM and SIGINT as a wish to cancel; outlive a terminal that closes."""
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, self._take)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._bell)

    def start_clock(self) -> None:
        """The first executor starts: the time limit counts from now."""
        if self._time_seconds is not None and self._deadline is None:
            self._deadline = time.monotonic() + self._time_seconds

    def stop_clock(self) -> None:
        """The last executor has ended: what follows is ours, and takes what it takes."""
        self._time_seconds = self._deadline = None

    def settle(self, seconds: float) -> None:
        """Raise Ended where the attempt is canceled, or is so soon."""
        until = time.monotonic() + seconds
        while not self._is_canceled():
            if time.monotonic() >= until:
                return
            time.sleep(_LOOK_SECONDS)
        raise Ended(CANCELED)

    def verdict(self) -> Optional[str]:
        """CANCELED, TIME_LIMIT, or None: go on."""
        if self._is_canceled():
            return CANCELED
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TIME_LIMIT
        return None

    def check(self) -> None:
        """Raise Ended where there is a verdict."""
        status = self.verdict()
        if status is not None:
            raise Ended(status)

    def _is_canceled(self) -> bool:
        return self._signaled or os.path.exists(CANCEL_FILE)

    def _take(self, number: int, frame: Any) -> None:
        self._signaled = True
