"""One attempt, phase by phase, from wherever it stands. From SUBMITTING on a crash never stages
or starts the job again, it only looks the job up."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tesp.backends import Backend, Ended, Job, Seen
from tesp.dispatch.binding import JobFiles, bring_in_place, resting, with_real_sources
from tesp.dispatch.layout import layout_of
from tesp.dispatch.lease import Lease
from tesp.dispatch.planning import plan_of, with_input_types, with_output_types
from tesp.dispatch.record import Record, Superseded
from tesp.dispatch.report import Outcome, live_tails, missing_outputs, outcome_of
from tesp.dispatch.uploads import output_log, uploads_of
from tesp.errors import BackendError, DiskFull, StagingError
from tesp.runner.plan import TIME_LIMIT, Found, Plan, Result
from tesp.staging import Uploaded, Workspace
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out
from tesp.store import Claim, LeaseStore, Phase
from tesp.tes.states import State, Transition

_log = logging.getLogger(__name__)

_MAY_RUN = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.UPLOADING})
_LONGEST_DELAY_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt works with. `transfers` bounds the transfers at once, over all."""

    store: LeaseStore
    storages: Storages
    transfers: asyncio.Semaphore
    retry_delay_seconds: float


class AttemptRun:
    """Carries one claimed attempt to its end, whatever phase it is found in."""

    def __init__(self, claim: Claim, lease: Lease, backend: Backend, tools: Tools) -> None:
        self._claim = claim
        self._lease = lease
        self._backend = backend
        self._tools = tools
        self._record = Record(claim, lease, tools.store)
        self._layout = layout_of(self._record.task, tools.storages.place)

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
        await self._clean()
        await self._record.end(outcome, self._delay_seconds())

    async def _tried(self) -> Outcome:
        """The attempt's outcome; whatever goes wrong on the way is one."""
        try:
            return await self._carry_on()
        except (StagingError, BackendError) as error:
            return Outcome(Transition.SYSTEM_FAILED, str(error))
        except Superseded:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of an attempt
            _log.exception("Task %s: an attempt broke", self._claim.fence.task_id)
            sentence = f"The service failed inside ({type(error).__name__}); see its log."
            return Outcome(Transition.SYSTEM_FAILED, sentence)

    async def _carry_on(self) -> Outcome:
        """From wherever the attempt stands to the outputs sent out."""
        if self._record.phase is Phase.STAGING:
            await self._stage()
        job = self._job()
        plan = self._plan()
        if self._record.phase is Phase.SUBMITTING:
            await self._backend.submit(
                job, await with_real_sources(self._tools.storages.shared, plan)
            )
        ended = await self._watch(job)
        if ended.result is None:
            return _vanished(ended)
        await self._collect(ended.result, ended)
        outcome = outcome_of(ended.result, plan.executors)
        return await self._send_out(outcome, plan, ended.result)

    def _job(self) -> Job:
        job = self._record.job
        assert job is not None, "an attempt past staging has a place"
        return job

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
        record = self._record
        job = await self._backend.prepare(record.handle, self._claim.fence.epoch)
        record.take_place(job)
        workspace = self._backend.workspace(job)
        await self._check_room(workspace)
        for directory in self._layout.directories:
            await workspace.make_directory(directory)
        types = await bring_in_place(self._tools.storages.shared, self._layout, workspace)
        done = await stage_in(
            self._tools.storages, self._layout.downloads, workspace, self._tools.transfers
        )
        types |= {d.field: b.type for d, b in zip(self._layout.downloads, done, strict=True)}
        if types:
            record.task = with_input_types(record.task, types)
            record.report = record.report.know(input_bytes=str(sum(d.bytes for d in done)))
        await record.advance(Phase.SUBMITTING)

    async def _check_room(self, workspace: Workspace) -> None:
        asked = self._claim.needs.disk_bytes
        free = await workspace.free_bytes() if asked else None
        if free is not None and free < asked:
            raise DiskFull(
                f"The task asks for {asked} bytes of disk, and {free} are free: ask for less "
                "in resources.disk_gb, or free some."
            )

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

    async def _send_out(self, outcome: Outcome, plan: Plan, result: Result) -> Outcome:
        """Send out the outputs that exist, whatever became of the executors."""
        record = self._record
        record.task = with_output_types(record.task, result.types)
        if result.found:
            failure = await self._upload(result.found)
            if failure and outcome.transition is Transition.COMPLETE:
                return Outcome(Transition.SYSTEM_FAILED, failure)
            record.report = record.report.say(failure)
        record.report = record.report.say(*_unmatched(plan, result))
        return missing_outputs(outcome, plan.outputs, result)

    async def _upload(self, found: Sequence[Found]) -> str | None:
        """Send files out that are not where they are to go; a sentence where it failed."""
        record, storages = self._record, self._tools.storages
        await record.advance(Phase.UPLOADING)
        uploads = uploads_of(record.task.outputs or [], found)
        files = JobFiles(self._backend.workspace(self._job()), storages)
        here = await resting(storages.shared, uploads)
        moved = [u for u in uploads if u not in here]
        sent: list[Uploaded] = []
        try:
            await stage_out(storages, moved, files, self._tools.transfers, sent.append)
        except StagingError as error:
            return str(error)
        finally:
            arrived = {(u.path, u.url) for u in sent}
            done = [u for u in uploads if u in here or (u.path, u.url) in arrived]
            record.report = record.report.sent(output_log(u) for u in done)
        return None

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
            await self._backend.cancel(job)
            async for seen in self._backend.watch(job):
                if isinstance(seen, Ended) and seen.result:
                    record.report = record.report.ran(seen.result.executors, seen.tails)
        await self._clean()
        record.report = record.report.say(*self._claim.warnings, "The task was canceled.")
        try:
            await record.end(Outcome(Transition.END_CANCEL))
        except Superseded as error:
            _log.info("Task %s: not canceled, %s", self._claim.fence.task_id, error)

    async def _clean(self) -> None:
        job = self._record.job
        if job is None:
            return
        try:
            await self._backend.clean(job)
        except BackendError as error:
            _log.warning("Task %s: %s", self._claim.fence.task_id, error)
            self._record.report = self._record.report.say(f"Something was left behind: {error}")


def _vanished(ended: Ended) -> Outcome:
    sentence = ended.reason
    if ended.started:
        sentence += " It may have run, so it is only run again where retries were asked for."
    return Outcome(Transition.SYSTEM_FAILED, sentence)


def _unmatched(plan: Plan, result: Result) -> list[str]:
    matched = {found.output for found in result.found}
    return [
        f"Nothing matches outputs[{number}] {output.path}."
        for number, output in enumerate(plan.outputs)
        if output.pattern and number not in matched
    ]
