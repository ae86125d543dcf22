"""What a Pulsar tells of its jobs by messages, brought to those who follow them."""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Iterator

from tesp.backends.pulsar import messages, wire
from tesp.backends.pulsar.wire import Status

_log = logging.getLogger(__name__)

# What the jobs that we make for ourselves begin with.
OURS = "tesp-"


class News:
    """What came about one job and was not read yet: of each state the newest update.

    Repetitions are one piece of news, and nothing follows what Pulsar never takes back.
    """

    def __init__(self) -> None:
        self._unread: dict[str, Status] = {}
        self._stirred = False
        self._final = False
        self._came = asyncio.Event()

    def add(self, status: Status) -> None:
        """An update has come."""
        if self._final and status.state not in wire.FINAL:
            return
        self._final = status.state in wire.FINAL
        self._unread[status.state] = status
        self._came.set()

    def drop(self) -> None:
        """What came until now is old."""
        self._unread.clear()
        self._final = False

    def stir(self) -> None:
        """Updates may have been lost: whoever waits is to ask now."""
        self._stirred = True
        self._came.set()

    async def next(self, seconds: float) -> Status | None:
        """The oldest unread update; None where none came in so many seconds, or some may have
        been lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
        update = self._unread.pop(next(iter(self._unread)), None) if self._unread else None
        if update is None:
            self._stirred = False
        if not self._unread and not self._stirred:
            self._came.clear()
        return update


class Updates:
    """Takes every update; those of jobs that nobody here knows are dropped."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._expected: dict[str, Status | None] = {}
        self._heard: set[str] = set()
        self._followers: dict[str, list[News]] = {}
        self._heard_at = -math.inf

    def take(self, body: bytes) -> None:
        """One message; one that is no update of a job is told in the log, and is gone."""
        try:
            job_id, status = messages.update_of(body)
        except ValueError:
            _log.warning("Pulsar %s sent what is no status of a job: %r", self._name, body[:200])
            return
        self._heard_at = time.monotonic()
        known = job_id in self._expected or job_id in self._followers
        _log.log(
            logging.DEBUG if known or job_id.startswith(OURS) else logging.INFO,
            "Pulsar %s: the job %r%s is %.20s",
            self._name,
            job_id[:200],
            "" if known else ", which nobody follows,",
            status.state,
        )
        if job_id in self._expected:
            self._keep(job_id, status)
        for news in self._followers.get(job_id, ()):
            news.add(status)

    def followed(self) -> int:
        """How many jobs are followed."""
        return len(self._followers)

    def silence(self) -> float:
        """For how many seconds nothing came at all."""
        return time.monotonic() - self._heard_at

    def expect(self, job_id: str, *, begins: bool = False) -> None:
        """Keep what comes about a job until it is followed. `begins`: nothing came before."""
        self._expected.setdefault(job_id, None)
        if begins:
            self._heard.add(job_id)

    def heard_all(self, job_id: str) -> bool:
        """Whether whatever there was about a job has come here."""
        return job_id in self._heard

    def knows(self, job_id: str) -> bool:
        """Whether Pulsar has told of a job that was expected."""
        return self._expected.get(job_id) is not None

    def forget(self, job_id: str) -> None:
        """Nobody wants to know of a job any more."""
        self._expected.pop(job_id, None)
        self._heard.discard(job_id)

    def stir(self) -> None:
        """Updates may have been lost."""
        self._heard.clear()
        for followers in self._followers.values():
            for news in followers:
                news.stir()

    @contextlib.contextmanager
    def follow(self, job_id: str) -> Iterator[News]:
        """The news of one job, with the last that came since it is expected."""
        news = News()
        if last := self._expected.get(job_id):
            news.add(last)
        self._followers.setdefault(job_id, []).append(news)
        try:
            yield news
        finally:
            self._followers[job_id].remove(news)
            if not self._followers[job_id]:
                del self._followers[job_id]

    def _keep(self, job_id: str, status: Status) -> None:
        last = self._expected[job_id]
        if last is None or last.state not in wire.FINAL or status.state in wire.FINAL:
            self._expected[job_id] = status
