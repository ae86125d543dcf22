"""One job of a Pulsar without REST as it is followed: by updates while they come, by questions
when one is overdue, and by a look at the job itself where Pulsar may be wrong about it.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Callable

from tesp.backends import Ended, Seen
from tesp.backends.pulsar import wire
from tesp.backends.pulsar.control import Control
from tesp.backends.pulsar.requests import Requests
from tesp.backends.pulsar.updates import News, Updates
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendUnavailable
from tesp.runner.plan import CLAIM_FILE, Progress, Result
from tesp.runner.report import Report
from tesp.settings import PulsarSettings

_FIRST_LOOK_SECONDS = 2.0
_LOOKS_A_SECOND = 2.0
_LONGEST_LOOK_SECONDS = 60.0
_SHARE_OF_AGE = 0.2
_ASK_SECONDS = 30.0
_LONGEST_ASK_SECONDS = 300.0
_ASK_AGAIN_SECONDS = 2.0
_UNANSWERED = 5
# Pulsar notices the end of a job within its own polling interval. If it does not, it never will.
_NOTICE_SECONDS = 15.0
_TRIES_TO_POST = 2
# Of the URLs in Pulsar's words: they hold the keys.
_QUERY = re.compile(r"\?\S*")


class Following:
    """Tells of one job until it has ended. Pulsar is believed where it says that a job ended;
    the job's own files are, where it says otherwise: after a restart it calls a job running, or
    lost, for ever."""

    def __init__(
        self,
        job: Name,
        settings: PulsarSettings,
        requests: Requests,
        control: Control,
        updates: Updates,
        *,
        silence_seconds: float,
        is_canceled: Callable[[], bool],
    ) -> None:
        self._job, self._settings = job, settings
        self._requests, self._control, self._updates = requests, control, updates
        self._silence_seconds, self._is_canceled = silence_seconds, is_canceled
        self._clock = asyncio.get_running_loop().time
        self._began = self._alive = self._beaten = self._told = self._clock()
        self._ask_at, self._ask_pause = self._began, _ASK_AGAIN_SECONDS
        self._look_at: float | None = None
        self._status: Status | None = None
        self._heartbeat: float | None = None
        self._seen = Seen(Progress())
        self._orphaned = self._fenced = self._existed = False
        self._absent = self._unanswered = 0
        self._asked = self._answered = self._lost = False
        self._result_since: float | None = None
        self._away_since: float | None = None

    async def items(self) -> AsyncGenerator[Seen | Ended]:
        """What there is to tell, the last of it an Ended."""
        if self._updates.heard_all(self._job.id):
            self._ask_at += _ASK_SECONDS
        self._updates.expect(self._job.id)
        with self._updates.follow(self._job.id) as news:
            while True:
                item = await self._next(news)
                if item is not None:
                    yield item
                if isinstance(item, Ended):
                    return

    async def _next(self, news: News) -> Seen | Ended | None:
        due = self._ask_at if self._look_at is None else min(self._ask_at, self._look_at)
        status = await news.next(max(0.0, due - self._clock()))
        try:
            item = await (self._heard(status) if status else self._overdue())
        except BackendUnavailable as error:
            return self._out_of_reach(error)
        self._away_since = None
        return item

    def _out_of_reach(self, error: BackendUnavailable) -> Ended | None:
        """There was no answer: the job's silence meanwhile means nothing."""
        now = self._clock()
        if self._away_since is None:
            self._away_since = now
        self._alive, self._result_since = now, None
        self._ask_at = now + min(_ASK_AGAIN_SECONDS + (now - self._away_since) / 10, _ASK_SECONDS)
        if self._look_at is not None:
            self._look_at = self._ask_at
        give_up = self._settings.give_up_seconds
        if now - self._away_since < give_up:
            return None
        return Ended(None, f"{error} The job was given up after {give_up:g} s.")

    async def _heard(self, status: Status) -> Seen | Ended | None:
        """Pulsar tells how the job stands, perhaps because it was asked."""
        self._answered, self._asked = self._asked, False
        news = self._status is None or self._status.state != status.state
        self._status, self._unanswered, self._told = status, 0, self._clock()
        self._ask_pause = _ASK_SECONDS if news else min(2 * self._ask_pause, _LONGEST_ASK_SECONDS)
        self._ask_at = self._clock() + self._ask_pause
        if status.gone:
            return await self._gone()
        self._absent, self._existed = 0, True
        if status.state in wire.FINAL:
            return await self._final(status)
        if status.state == wire.LOST:
            # Asked afterwards, Pulsar says that it is queued.
            self._orphaned = self._lost = True
            return await self._look()
        if status.state == wire.RUNNING and self._look_at is None:
            self._look_at = self._clock() + self._look_pause()
            return self._first_seen()
        waits = status.state in (wire.PREPROCESSING, wire.QUEUED) and self._heartbeat is None
        if waits and self._is_canceled():
            return Ended(None, "The job was canceled before it started.", started=False)
        return None

    def _first_seen(self) -> Seen | None:
        """Where the node fetches first, only a look tells when the first executor starts."""
        if self._settings.staging == "node":
            return None
        self._seen = Seen(Progress([], 0, time.time()))
        return self._seen

    async def _overdue(self) -> Seen | Ended | None:
        """Nothing was heard, or something may have been lost."""
        if self._look_at is not None and self._clock() >= self._look_at:
            return await self._look()
        await self._requests.find(self._job.manager)
        await self._ask()
        now = self._clock()
        self._ask_at = now + min(_ASK_AGAIN_SECONDS * 2 ** min(self._unanswered, 8), _ASK_SECONDS)
        self._unanswered += 1
        if self._unanswered > _UNANSWERED and self._look_at is None:
            self._look_at = now
        return None

    async def _gone(self) -> Ended | None:
        """There is no such job: it was not set up yet, or it was removed."""
        if not self._fenced:
            await self._requests.fence(self._job.manager)
            self._fenced = True
        self._absent += 1
        if self._absent > 2:
            sentence = f"The Pulsar {self._settings.name} has no trace of the job."
            return Ended(None, sentence, started=self._existed)
        # An answer on its way may be older than the setup.
        await self._ask()
        return None

    async def _ask(self) -> None:
        self._asked = True
        await self._requests.ask(self._job)

    async def _final(self, status: Status) -> Seen | Ended | None:
        """Pulsar says that it is over: the result, or why there is none."""
        report = status.report()
        if report and report.result:
            return await self._ended(report.result, report, status)
        if status.wrote(CLAIM_FILE) is False:
            return await self._not_started(status)
        if status.state == wire.COMPLETE and status.returncode in (0, None):
            # Started twice, perhaps on another node, this one left the job to the first. And
            # without a code Pulsar has only not heard of it: its scheduler may be away.
            self._orphaned = True
        return await self._look()

    async def _not_started(self, status: Status) -> Seen | Ended | None:
        """The runner never came to its claim, and Pulsar, or the shell, may know why."""
        if status.unheard_of:
            # What is still in a scheduler's queue must not start.
            await self._control.end(self._job, waits=True)
        look = await self._control.look(self._job)
        if look.report and look.report.heartbeat is not None:
            # Pulsar has started it twice, and speaks of the one that failed.
            self._orphaned = True
            return await self._look()
        words = _QUERY.sub("", look.words or status.words())
        sentence = f"The Pulsar {self._settings.name} could not start the job. {words}"
        return Ended(None, sentence.strip(), started=False, forgotten=wire.passes(words))

    async def _look(self) -> Seen | Ended | None:
        """Ask the job itself."""
        try:
            look = await self._control.look(self._job)
        finally:
            self._look_at = self._clock() + self._look_pause()
        report = look.report or Report()
        if report.result:
            return await self._result(report.result, report)
        if not look.there:
            return await self._gone()
        if self._status and self._status.state in wire.FINAL and not self._orphaned:
            name = self._settings.name
            return Ended(None, self._status.ended(name, "without a result"), tails=report.tails)
        self._take(report.heartbeat)
        return await self._silence(report) or self._changed(report)

    def _take(self, heartbeat: float | None) -> None:
        now = self._clock()
        if heartbeat != self._heartbeat:
            self._heartbeat, self._alive, self._beaten = heartbeat, now, now
        elif self._waits():
            self._alive = now

    def _waits(self) -> bool:
        """Whether silence means nothing: the job waits to start, or its scheduler suspended it.
        One that ran and is in a queue again was ended by its scheduler."""
        if self._lost:
            return False
        if self._status is None or self._status.state == wire.OTHER:
            return True
        return self._status.state in wire.WAITING and self._heartbeat is None

    async def _silence(self, report: Report) -> Ended | None:
        """The job's end, where its runner is silent and Pulsar, asked since, knows no reason."""
        now, status = self._clock(), self._status
        patience = self._patience()
        silent = now - self._alive > patience
        final = status is not None and status.state in wire.FINAL
        if silent and self._lost and not self._heartbeat:
            return await self._forgotten()
        if silent and (final or self._told > self._alive):
            await self._requests.kill(self._job)
            return Ended(None, self._silent(patience), tails=report.tails)
        if not final and (silent or now - max(self._beaten, self._told) > wire.MISSED_SECONDS):
            self._ask_at = now
        return None

    async def _forgotten(self) -> Ended | None:
        """Killed while it put a job into its queue or took it out, Pulsar lost it."""
        await self._control.end(self._job, waits=True)
        look = await self._control.look(self._job)
        if look.report and (look.report.result or look.report.heartbeat is not None):
            return None  # it had begun after all, and is looked at again
        sentence = f"The Pulsar {self._settings.name} has lost the job before its start."
        return Ended(None, sentence, started=False, forgotten=True)

    def _patience(self) -> float:
        seconds = self._silence_seconds
        return self._status.patience(seconds) if self._status else seconds

    def _look_pause(self) -> float:
        """Until the next look: each is a job for Pulsar, and all of them together are few."""
        by_age = min(_SHARE_OF_AGE * (self._clock() - self._began), _LONGEST_LOOK_SECONDS)
        return max(_FIRST_LOOK_SECONDS, by_age, self._updates.followed() / _LOOKS_A_SECOND)

    def _changed(self, report: Report) -> Seen | None:
        seen = Seen(report.progress, report.tails)
        if seen == self._seen or seen == Seen(Progress()):
            return None
        self._seen = seen
        return seen

    async def _result(self, result: Result, report: Report) -> Ended | None:
        """There is a result, and Pulsar has not said so: it does soon, or never will."""
        now = self._clock()
        if self._result_since is None:
            self._result_since = now
        if self._status and self._status.state in wire.FINAL:
            return await self._ended(result, report, self._status)
        if self._orphaned or now - self._result_since > _NOTICE_SECONDS:
            if self._status and self._status.state in (wire.QUEUED, wire.OTHER):
                # Put back into a scheduler's queue, it would start again.
                await self._requests.kill(self._job)
            return Ended(await self._posted(result), tails=report.tails)
        self._ask_at = now + _ASK_AGAIN_SECONDS
        return None

    async def _ended(self, result: Result, report: Report, status: Status) -> Ended:
        """Pulsar has ended the job, and posted its outputs where it was to. Whether that went
        well it says once, and of itself: who asks is told that all is complete."""
        if self._posts(result):
            doubtful = self._answered or self._orphaned or status.unheard_of
            if status.state == wire.COMPLETE and not doubtful:
                result = result._replace(sent=list(range(len(result.found))))
            else:
                result = await self._posted(result)
        return Ended(result, tails=report.tails)

    def _posts(self, result: Result) -> bool:
        return self._settings.staging == "dispatcher" and result.sent is None

    async def _posted(self, result: Result) -> Result:
        """Have the outputs posted by another job: the job's own turn failed, or never comes."""
        if not self._posts(result):
            return result
        everything = list(range(len(result.found)))
        if not everything:
            return result._replace(sent=[])
        look = await self._control.look(self._job)
        if look.send_url:
            for _ in range(_TRIES_TO_POST):
                if await self._control.collect(self._job, look.send_url):
                    return result._replace(sent=everything)
        sentence = f"The Pulsar {self._settings.name} could not post every output file."
        return result._replace(sent=[], send_error=sentence)

    def _silent(self, seconds: float) -> str:
        state = self._status.state if self._status else "nothing"
        return (
            f"The job on the Pulsar {self._settings.name} ended without a result: its runner has "
            f"shown no sign of life for {seconds:g} s, and Pulsar says {state}."
        )
