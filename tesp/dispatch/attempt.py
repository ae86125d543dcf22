"""One attempt, phase by phase, from wherever it stands. From SUBMITTING on neither a crash nor
a backend that is out of reach for a while stages or starts the job again: it is looked up."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from tesp.backends import Ended, Job, Seen
from tesp.dispatch.binding import with_real_sources
from tesp.dispatch.carriage import ByDispatcher, ByJob, Carriage
from tesp.dispatch.lanes import Lane
from tesp.dispatch.layout import layout_of
from tesp.dispatch.lease import Lease
from tesp.dispatch.patience import Patience
from tesp.dispatch.places import nowhere
from tesp.dispatch.planning import plan_of, with_input_types, with_output_types
from tesp.dispatch.record import Record, Superseded
from tesp.dispatch.report import Outcome, live_tails, missing_outputs, outcome_of
from tesp.dispatch.uploads import output_log, uploads_of
from tesp.errors import BackendError, BackendUnavailable, StagingError
from tesp.runner.plan import TIME_LIMIT, Plan, Result
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import Claim, Phase, WorkerStore
from tesp.tes.states import State, Transition

T = TypeVar("T")

_log = logging.getLogger(__name__)

_MAY_RUN = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.UPLOADING})
_LONGEST_DELAY_SECONDS = 600.0
_CLEANING_SECONDS = 2.0
"""How long the end of a task waits for a backend to remove its files: it may do so later."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt works with."""

    store: WorkerStore
    storages: Storages
    keys: Keys
    retry_delay_seconds: float


class AttemptRun:
    """Carries one claimed attempt to its end, whatever phase it is found in."""

    def __init__(self, claim: Claim, lease: Lease, lane: Lane, tools: Tools) -> None:
        self._claim = claim
        self._lease = lease
        self._lane = lane
        self._backend = lane.backend
        self._tools = tools
        self._record = Record(claim, lease, tools.store)
        place_of = tools.storages.place if self._backend.sees_shared_roots else nowhere
        self._layout = layout_of(self._record.task, place_of)
        self._carriage: Carriage | None = None

    async def run(self) -> None:
        """Run until the attempt has ended, the lease is lost, or the task is canceled."""
        steps = asyncio.create_task(self._steps())
        news = asyncio.create_task(self._lease.news())
        try:
            await asyncio.wait({steps, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (steps, news):
                task.cancel()
            ended, _ = await asyncio.gather(steps, news, return_exceptions=True)
        if ended is None or self._lease.lost.is_set():
            return
        if not isinstance(ended, Superseded | asyncio.CancelledError):
            raise ended
        await self._end_canceled()

    async def _steps(self) -> None:
        if self._record.state is State.CANCELING:
            raise Superseded("the task was being canceled when it was adopted")
        outcome = self._record.outcome
        if outcome is None:
            outcome = self._final(await self._tried())
            await self._record.settle(outcome)
        waiting = outcome.transition is Transition.REQUEUE
        await self._clean(0.0 if waiting else _CLEANING_SECONDS)
        await self._record.end(outcome, self._delay_seconds())

    async def _tried(self) -> Outcome:
        """The attempt's outcome; whatever goes wrong on the way is one."""
        try:
            return await self._patiently(self._carry_on)
        except BackendUnavailable as error:
            if self._record.phase is Phase.STAGING:
                return Outcome(Transition.REQUEUE, str(error))
            return Outcome(Transition.SYSTEM_FAILED, f"{error} It was waited for, and given up.")
        except (StagingError, BackendError) as error:
            return Outcome(Transition.SYSTEM_FAILED, str(error))
        except Superseded:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of an attempt
            _log.exception("Task %s: an attempt broke", self._claim.fence.task_id)
            sentence = f"The service failed inside ({type(error).__name__}); see its log."
            return Outcome(Transition.SYSTEM_FAILED, sentence)

    async def _patiently(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do something again until the backend was there for it, once the job may exist there."""
        patience = Patience(self._lane.give_up_seconds)
        while True:
            try:
                return await act()
            except BackendUnavailable as error:
                self._lane.falter(str(error))
                if self._record.phase is Phase.STAGING or not await patience.wait():
                    raise

    async def _carry_on(self) -> Outcome:
        """From wherever the attempt stands to the outputs sent out."""
        if self._record.phase is Phase.STAGING:
            await self._stage()
        job = self._job()
        carriage = self._carriage_of(job)
        plan = self._plan()
        if self._record.phase is Phase.SUBMITTING:
            instructed = await carriage.instructed(plan, self._layout)
            shared = self._tools.storages.shared
            await self._backend.submit(job, await with_real_sources(shared, instructed))
        ended = await self._watch(job)
        if ended.result is None:
            return self._vanished(ended)
        await self._collect(ended.result, ended)
        outcome = outcome_of(ended.result, plan.executors)
        return await self._send_out(outcome, plan, ended.result, carriage)

    def _job(self) -> Job:
        job = self._record.job
        assert job is not None, "an attempt past staging has a place"
        return job

    def _carriage_of(self, job: Job) -> Carriage:
        """Who moves the files of this attempt."""
        if self._carriage is None:
            workspace, tools = self._backend.workspace(job), self._tools
            if workspace is not None:
                self._carriage = ByDispatcher(workspace, tools.storages, self._lane.transfers)
            else:
                task_id, number = self._claim.fence.task_id, self._record.number
                self._carriage = ByJob(
                    task_id,
                    number,
                    tools.storages,
                    tools.keys,
                    tools.store,
                    self._lane.transfers,
                )
        return self._carriage

    def _plan(self) -> Plan:
        return plan_of(
            self._claim.fence.task_id,
            self._record.handle,
            self._layout,
            self._claim.needs,
            self._backend.runtime(),
        )

    async def _stage(self) -> None:
        """Bring the inputs in; the job's name is written before the job can exist."""
        record, needs = self._record, self._claim.needs
        job = await self._backend.prepare(record.handle, self._claim.fence.epoch, needs)
        record.take_place(job)
        brought = await self._carriage_of(job).bring_in(self._layout, needs.disk_bytes)
        if brought.types:
            record.task = with_input_types(record.task, brought.types)
        if brought.types and brought.bytes is not None:
            record.report = record.report.know(input_bytes=str(brought.bytes))
        await record.advance(Phase.SUBMITTING)

    async def _watch(self, job: Job) -> Ended:
        async for seen in self._backend.watch(job):
            if isinstance(seen, Ended):
                return seen
            await self._note(seen)
        raise BackendError("The backend stopped telling about the job.")

    async def _note(self, seen: Seen) -> None:
        """Show how the running job stands."""
        record, progress = self._record, seen.progress
        grown = len(progress.ended) > len(record.report.executors)
        if grown:
            record.report = record.report.ran(progress.ended, seen.tails)
        begun = progress.running is not None or progress.ended
        if begun and record.state is State.INITIALIZING:
            await record.advance(Phase.SUBMITTED, Transition.START)
        elif grown:
            await record.note()
        if tails := live_tails(progress.running, seen.tails):
            await record.show(tails)

    async def _collect(self, result: Result, ended: Ended) -> None:
        """Take the runner's result into the log; a job that has run has been RUNNING."""
        record = self._record
        record.report = record.report.ran(result.executors, ended.tails).say(*result.warnings)
        if result.host:
            record.report = record.report.know(host=result.host)
        ran = result.executors or result.status == TIME_LIMIT
        if ran and record.state is State.INITIALIZING:
            await record.advance(Phase.COLLECTING, Transition.START)

    async def _send_out(
        self, outcome: Outcome, plan: Plan, result: Result, carriage: Carriage
    ) -> Outcome:
        """Send out the outputs that exist, whatever became of the executors."""
        record = self._record
        record.task = with_output_types(record.task, result.types)
        if result.found:
            await record.advance(Phase.UPLOADING)
            uploads = uploads_of(record.task.outputs or [], result.found)
            sent = await carriage.send_out(uploads, result)
            record.report = record.report.sent(output_log(u) for u in sent.uploads)
            if sent.failure and outcome.transition is Transition.COMPLETE:
                return Outcome(Transition.SYSTEM_FAILED, sent.failure)
            record.report = record.report.say(sent.failure)
        record.report = record.report.say(*_unmatched(plan, result))
        return missing_outputs(outcome, plan.outputs, result)

    def _vanished(self, ended: Ended) -> Outcome:
        """The job left no result. What may be preempted, where that happens, was preempted."""
        sentence = ended.reason
        if ended.forgotten:
            # Told too soon that it ran, it is another attempt that is queued.
            unseen = self._record.state is State.INITIALIZING
            return Outcome(Transition.REQUEUE if unseen else Transition.RETRY, sentence)
        if not ended.started:
            return Outcome(Transition.SYSTEM_FAILED, sentence)
        sentence += " It may have run, so it is only run again where retries were asked for."
        preempted = self._claim.needs.preemptible and self._lane.offer.preemptible == "only"
        return Outcome(Transition.PREEMPT if preempted else Transition.SYSTEM_FAILED, sentence)

    def _final(self, outcome: Outcome) -> Outcome:
        """Another attempt in place of a failure, where retries were asked for and are left."""
        self._record.report = self._record.report.say(*self._claim.warnings, outcome.sentence)
        failed = outcome.transition in (Transition.SYSTEM_FAILED, Transition.PREEMPT)
        allowed = int(self._claim.needs.parameters.get("max_retries", "0"))
        if failed and self._record.number <= allowed:
            return replace(outcome, transition=Transition.RETRY)
        return outcome

    def _delay_seconds(self) -> float:
        """How long the next attempt waits: doubled each time."""
        delay = self._tools.retry_delay_seconds * 2.0 ** (self._record.number - 1)
        return min(_LONGEST_DELAY_SECONDS, delay)

    async def _end_canceled(self) -> None:
        """End the job, and only then say so."""
        record, job = self._record, self._record.job
        if job and record.phase in _MAY_RUN:
            await self._end_job(job)
        await self._clean(self._lane.give_up_seconds)
        record.report = record.report.say(*self._claim.warnings, "The task was canceled.")
        try:
            await record.end(Outcome(Transition.END_CANCEL))
        except Superseded as error:
            _log.info("Task %s: not canceled, %s", self._claim.fence.task_id, error)

    async def _end_job(self, job: Job) -> None:
        record = self._record
        try:
            await self._patiently(lambda: self._backend.cancel(job))
        except BackendUnavailable as error:
            record.report = record.report.say(f"{error} Whether the job has ended is not known.")
            return
        async for seen in self._backend.watch(job):
            if isinstance(seen, Ended) and seen.result:
                record.report = record.report.ran(seen.result.executors, seen.tails)

    async def _clean(self, patience_seconds: float) -> None:
        """Remove what the job left, or leave that to its lane."""
        job = self._record.job
        if job is None:
            return
        patience = Patience(patience_seconds)
        while True:
            try:
                return await self._backend.clean(job)
            except BackendUnavailable as error:
                self._lane.falter(str(error))
                if not await patience.wait():
                    self._lane.leave(job)
                    return
            except BackendError as error:
                _log.warning("Task %s: %s", self._claim.fence.task_id, error)
                self._record.report = self._record.report.say(f"Something was left behind: {error}")
                return


def _unmatched(plan: Plan, result: Result) -> list[str]:
    matched = {found.output for found in result.found}
    return [
        f"Nothing matches outputs[{number}] {output.path}."
        for number, output in enumerate(plan.outputs)
        if output.pattern and number not in matched
    ]
