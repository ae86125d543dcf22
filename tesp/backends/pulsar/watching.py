"""One job as it is followed: what Pulsar says of it, and what its runner wrote."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tesp.backends import Ended, Seen
from tesp.backends.pulsar import wire
from tesp.backends.pulsar.polling import Polling
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.small_jobs import SmallJobs
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendError, TransferFailed
from tesp.runner.plan import (
    CANCEL_FILE,
    CLAIM_FILE,
    HEARTBEAT_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    TAILS_DIR,
    TOO_MANY_OUTPUTS,
    Progress,
    Result,
)

_WHY_FILE = "stderr"
_STREAMS = ("stdout", "stderr")
_HURRY_SECONDS = 0.003
_SHORTEST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 5.0
_SHARE_OF_AWAY = 0.1
_SHORT_PAUSES = 15
_PROGRESS_SECONDS = 0.25
_TAILS_SECONDS = 1.0
_HEARTBEAT_SECONDS = 5.0
# So long without news, a result may be there although Pulsar says that the job runs.
_QUIET_SECONDS = 15.0
_QUEUED_SECONDS = 60.0

Start = Callable[[], Awaitable[None]]


class Watching:
    """Looks at one job again and again.

    Pulsar's status is believed where it says that a job ended. Where it says otherwise, the
    runner's files are: after a restart it says that a job runs, or is lost, for ever.
    """

    def __init__(
        self,
        client: RestPulsarClient,
        jobs: SmallJobs,
        job: Name,
        name: str,
        silence_seconds: float,
        polling: Polling,
        again: Start | None = None,
    ) -> None:
        """`name` is the Pulsar's; `jobs` tell why Pulsar could not start this one; `again` starts
        it where Pulsar has forgotten it."""
        self._client, self._jobs, self._job, self._name = client, jobs, job, name
        self._again = again
        self._silence_seconds, self._polling = silence_seconds, polling
        self._clock = asyncio.get_running_loop().time
        self._began = self._alive = self._clock()
        self._due: dict[str, float] = {}
        self.over = False  # it has a result, and Pulsar knows that it ended
        self._suspected = self._restarted = False
        self._hurries = self._unexplained = False
        self._away_since: float | None = None
        self._heartbeat: bytes | None = None
        self._seen = Seen(Progress())

    def suspect(self) -> None:
        """Pulsar may have been restarted since the job began: its word is not enough."""
        self._suspected = self._restarted = True

    def pause(self) -> float:
        """How long to wait until the next look."""
        now = self._clock()
        if self._away_since is not None:
            away = now - self._away_since
            return min(_LONGEST_WAIT_SECONDS, _SHORTEST_WAIT_SECONDS + away * _SHARE_OF_AWAY)
        return _HURRY_SECONDS if self._hurries else self._polling.pause(now - self._began)

    def out_of_reach(self, error: BackendError, give_up_seconds: float) -> Ended | None:
        """Pulsar did not answer: the job's silence meanwhile means nothing."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < give_up_seconds:
            return None
        return Ended(None, f"{error} The job was given up after {give_up_seconds:g} s.")

    async def look(self) -> Seen | Ended | None:
        """What there is to tell now, None where there is no news."""
        status = await self._client.status(self._job)
        if self._away_since is not None:
            self._away_since, self._alive = None, self._clock()
            self.suspect()
        if status is None:
            await self._client.check(self._job.manager)
            self._suspected = True
            return await self._signs(None)
        self._hurries = status.state == wire.POSTPROCESSING and not self._hurries
        if status.state in wire.FINAL:
            return await self._ended(status)
        if status.state in wire.WAITING:
            if not await self._began_to_run():
                return await self._waits(status)
            self._returned_to_queue(status)
        if status.state == wire.POSTPROCESSING and not self._doubtful():
            return None
        return await self._signs(status)

    async def _waits(self, status: Status) -> Ended | None:
        """Nothing of the runner is there: it waits in a queue, or was never put into one."""
        now = self._clock()
        if status.state != wire.PREPROCESSING:
            self._alive = now
        elif await self._was_canceled():
            sentence = f"The job on the Pulsar {self._name} was canceled before its start."
            return Ended(None, sentence, started=False)
        if now - self._alive < self._silence_seconds:
            return None
        sentence = f"The job on the Pulsar {self._name} was never started."
        try:
            # Should the start come after all, it finds that it is not wanted any more.
            await self._client.write(self._job, wire.in_metadata(CANCEL_FILE), once(b""))
        except TransferFailed:
            return Ended(None, sentence, started=True)
        return Ended(None, sentence, started=False)

    async def _was_canceled(self) -> bool:
        """Whether the runner, should it start, finds that it is not wanted."""
        due = self._is_due(CANCEL_FILE, _HEARTBEAT_SECONDS)
        return due and await self._read(CANCEL_FILE) is not None

    async def _began_to_run(self) -> bool:
        """Whether the runner was seen, now or some time ago."""
        often = _QUIET_SECONDS if self._restarted else _QUEUED_SECONDS
        old = self._restarted or self._clock() - self._began > _QUEUED_SECONDS
        # It may have begun, and been put back into the queue, between two looks.
        if old and self._is_due("queued", often):
            self._take(await self._read(HEARTBEAT_FILE))
            if self._heartbeat is None and self._again is not None:
                # Killed while it put a job into its queue or took it out, Pulsar has forgotten
                # it, and calls it queued for ever. What it knows it does not start twice.
                await self._again()
        return self._heartbeat is not None or self._seen.progress != Progress()

    def _returned_to_queue(self, status: Status) -> None:
        """A scheduler has suspended a job that ran, or ended it to start it again."""
        self._suspected = True
        if status.state == wire.OTHER:
            self._alive = self._clock()

    def _take(self, heartbeat: bytes | None) -> None:
        if heartbeat != self._heartbeat:
            self._heartbeat, self._alive = heartbeat, self._clock()

    def _doubtful(self) -> bool:
        """Whether there may be a result although Pulsar says that the job goes on."""
        progress = self._seen.progress
        ran_out = bool(progress.ended) and progress.running is None
        return self._suspected or ran_out or self._clock() - self._alive > _QUIET_SECONDS

    async def _ended(self, status: Status) -> Seen | Ended | None:
        """Pulsar says that it is over: the result, or why there is none."""
        report = status.report()
        if report and report.result and report.result.reason != TOO_MANY_OUTPUTS:
            self.over = True
            return Ended(report.result, tails=report.tails)
        if status.wrote(RESULT_FILE) is not False and (ended := await self._result(status)):
            return ended
        if status.wrote(CLAIM_FILE) is False:
            return await self._never_began(status)
        if status.state == wire.COMPLETE and status.returncode in (0, None):
            # Started twice, perhaps on another node, this one left the job to the first. And
            # without a code Pulsar has only not heard of it: its scheduler may be away.
            return await self._signs(status)
        sentence = status.ended(self._name, "without a result")
        return Ended(None, sentence, tails=self._seen.tails)

    async def _never_began(self, status: Status) -> Seen | Ended | None:
        """It is not there for Pulsar; what is still in a scheduler's queue must not start."""
        if status.unheard_of:
            await self._client.write(self._job, wire.in_metadata(CANCEL_FILE), once(b""))
            if await self._read(CLAIM_FILE) is not None:
                return await self._signs(status)
        self._unexplained = not status.words() and _WHY_FILE in (status.job_files or ())
        sentence = status.ended(self._name, "before it started")
        return Ended(None, sentence, started=False, forgotten=wire.passes(sentence))

    async def explained(self, ended: Ended) -> Ended:
        """The same, with what Pulsar wrote of a failure into a file that REST does not show."""
        if not self._unexplained:
            return ended
        words = await self._jobs.why(self._job)
        if not words:
            return ended
        reason = f"{ended.reason} It said: {words}"
        return replace(ended, reason=reason, forgotten=wire.passes(words))

    async def _signs(self, status: Status | None) -> Seen | Ended | None:
        """What the runner's files tell of a job that runs, or is said to."""
        if status and status.gone:
            seen = None
        else:
            seen = await self._news()
            if self._doubtful() and self._is_due("result", _TAILS_SECONDS):
                self._suspected = False
                if ended := await self._result(status):
                    return ended
        patience = status.patience(self._silence_seconds) if status else self._silence_seconds
        if await self._is_silent(patience):
            return Ended(None, self._silent(status, patience), tails=self._seen.tails)
        return seen

    async def _is_silent(self, seconds: float) -> bool:
        """Whether there was no sign of life for so long, and is none now."""
        if self._clock() - self._alive > seconds:
            self._take(await self._read(HEARTBEAT_FILE))
        return self._clock() - self._alive > seconds

    def _silent(self, status: Status | None, seconds: float) -> str:
        state = status.state if status else "nothing that can be read"
        code = status.returncode if status else None
        known = "" if code is None else f" with exit code {code}"
        said = status.said() if status else ""
        return (
            f"The job on the Pulsar {self._name} ended without a result: its runner has shown no "
            f"sign of life for {seconds:g} s, and Pulsar says {state}{known}.{said}"
        )

    async def _news(self) -> Seen | None:
        if not self._due and not self._suspected:
            # A job that ends in less time is not looked into: its files are not there yet.
            first = self._clock() + _SHORT_PAUSES * self._polling.pause(0)
            self._due = dict.fromkeys(("progress", "tails", "heartbeat"), first)
        progress = await self._progress()
        seen = Seen(progress, await self._tails(progress))
        begun = progress != Progress() or self._clock() - self._alive > _HEARTBEAT_SECONDS
        if begun and self._is_due("heartbeat", _HEARTBEAT_SECONDS):
            self._take(await self._read(HEARTBEAT_FILE))
        if seen == self._seen:
            return None
        self._seen, self._alive = seen, self._clock()
        return seen

    async def _progress(self) -> Progress:
        if not self._is_due("progress", _PROGRESS_SECONDS):
            return self._seen.progress
        data = _json(await self._read(PROGRESS_FILE))
        return self._seen.progress if data is None else Progress.from_json(data)

    async def _tails(self, progress: Progress) -> dict[str, bytes]:
        """The tails known; those of the running executor anew, and of one that ended just now."""
        tails, before = dict(self._seen.tails), len(self._seen.progress.ended)
        fresh = list(range(before, len(progress.ended)))
        if progress.running is not None and self._is_due("tails", _TAILS_SECONDS):
            fresh.append(progress.running)
        for file in (f"{number}.{stream}" for number in fresh for stream in _STREAMS):
            tail = await self._read(f"{TAILS_DIR}/{file}")
            if tail is not None:
                tails[file] = tail
        return tails

    async def _result(self, status: Status | None) -> Ended | None:
        data = _json(await self._read(RESULT_FILE, 1 << 30))
        if data is None:
            return None
        result = Result.from_json(data)
        return Ended(result, tails=await self._last_tails(result, status))

    async def _last_tails(self, result: Result, status: Status | None) -> dict[str, bytes]:
        # An executor that was ended has tails, and is not among those that ended.
        count = len(result.executors) + 1
        names = (f"{i}.{s}" for i in range(count) for s in _STREAMS)
        tails = {}
        for name in names:
            file = f"{TAILS_DIR}/{name}"
            if status and status.wrote(file) is False:
                continue
            if (tail := await self._read(file)) is not None:
                tails[name] = tail
        return tails

    async def _read(self, file: str, longest: int = 8 << 20) -> bytes | None:
        return await self._client.read(self._job, wire.in_metadata(file), longest)

    def _is_due(self, what: str, seconds: float) -> bool:
        """Whether to look there now; then not again for a while, longer for an old job."""
        now = self._clock()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + max(seconds, min(_HEARTBEAT_SECONDS, 0.02 * (now - self._began)))
        return True


def _json(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except ValueError:
        return None
