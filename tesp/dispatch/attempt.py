"""One attempt, phase by phase. Each step is a guarded write; from SUBMITTING on a crash never
stages or starts the job again, it only looks the job up."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tesp.backends import Backend, Ended, Job, Seen
from tesp.dispatch.layout import layout_of
from tesp.dispatch.lease import Lease
from tesp.dispatch.planning import plan_of, with_input_types, with_output_types
from tesp.dispatch.report import (
    Outcome,
    Report,
    live_tails,
    missing_outputs,
    outcome_of,
    report_of,
)
from tesp.dispatch.uploads import output_log, uploads_of
from tesp.errors import BackendError, DiskFull, StagingError, StoreError, TespError
from tesp.runner.plan import TIME_LIMIT, Found, Plan, Result
from tesp.staging import Uploaded, Workspace
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out
from tesp.store import Change, Claim, LeaseStore, Phase, Written
from tesp.tes.models import timestamp
from tesp.tes.states import State, Transition
from tesp.tes.views import (
    Text,
    attempts_of,
    body_text,
    creation_time_of,
    logs_text,
    submission_of,
)

_log = logging.getLogger(__name__)

_STARTED = frozenset({Phase.SUBMITTING, Phase.SUBMITTED, Phase.COLLECTING, Phase.UPLOADING})


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failed attempt may be repeated, and after how long at first."""

    allowed: int
    delay_seconds: float

    def delay(self, number: int) -> float:
        """Seconds to wait after attempt `number`: doubled each time, ten minutes at most."""
        return min(600.0, self.delay_seconds * 2.0 ** (number - 1))


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt works with."""

    store: LeaseStore
    storages: Storages
    transfers: asyncio.Semaphore
    retry_delay_seconds: float


class Superseded(TespError):
    """A write was refused: the task is being canceled, or is another's."""


class AttemptRun:
    """Carries one claimed attempt to its end, whatever phase it is found in."""

    def __init__(self, claim: Claim, lease: Lease, backend: Backend, tools: Tools) -> None:
        self._claim = claim
        self._lease = lease
        self._backend = backend
        self._tools = tools
        self._task = submission_of(claim.body.full)
        self._written = self._task
        self._layout = layout_of(self._task)
        self._attempt = claim.attempt
        self._state = claim.state
        logs = attempts_of(claim.logs)
        self._earlier = logs[: claim.attempt.number - 1]
        begun = logs[claim.attempt.number - 1 :]
        self._report = report_of(begun[0]) if begun else _new_report(claim)

    async def run(self) -> None:
        """Run until the attempt has ended, the lease is lost, or the task is canceled."""
        steps = asyncio.create_task(self._steps())
        news = asyncio.create_task(self._lease.news())
        try:
            await asyncio.wait({steps, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (steps, news):
                task.cancel()
            superseded, _ = await asyncio.gather(steps, news, return_exceptions=True)
        if superseded is None or self._lease.lost.is_set():
            return
        if not isinstance(superseded, Superseded | asyncio.CancelledError):
            raise superseded
        await self._end_canceled()

    async def _steps(self) -> None:
        if self._state is State.CANCELING:
            raise Superseded("the task was being canceled when it was adopted")
        if self._attempt.outcome:
            await self._finish(Outcome.from_json(self._attempt.outcome))
            return
        try:
            outcome = await self._carry_on()
        except (StagingError, BackendError) as error:
            outcome = Outcome(Transition.SYSTEM_FAILED, str(error))
        except (Superseded, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of an attempt
            _log.exception("Task %s: an attempt broke", self._claim.fence.task_id)
            sentence = f"The service failed inside ({type(error).__name__}); see its log."
            outcome = Outcome(Transition.SYSTEM_FAILED, sentence)
        await self._settle(outcome)

    async def _carry_on(self) -> Outcome:
        """From wherever the attempt stands to the outputs sent out."""
        if self._attempt.phase is Phase.STAGING:
            await self._stage()
        plan = self._plan()
        if self._attempt.phase is Phase.SUBMITTING:
            await self._backend.submit(self._job, plan)
        ended = await self._watch()
        if ended.result is None:
            return self._vanished(ended)
        await self._collect(ended.result, ended)
        outcome = outcome_of(ended.result, plan.executors)
        return await self._send_out(outcome, plan, ended.result)

    @property
    def _job(self) -> Job:
        assert self._attempt.handle is not None
        assert self._attempt.place is not None
        return Job(self._attempt.handle, self._attempt.place)

    def _plan(self) -> Plan:
        return plan_of(
            self._claim.fence.task_id,
            self._job.handle,
            self._layout,
            self._claim.needs,
            self._backend.runtime(),
        )

    async def _stage(self) -> None:
        """Bring the inputs in; the job's name is written before the job can exist."""
        handle = f"{self._claim.fence.task_id}-{self._attempt.number}"
        job = await self._backend.prepare(handle, self._claim.fence.epoch)
        self._attempt = replace(self._attempt, handle=job.handle, place=job.place)
        workspace = self._backend.workspace(job)
        await self._check_room(workspace)
        for directory in self._layout.directories:
            await workspace.make_directory(directory)
        done = await stage_in(
            self._tools.storages, self._layout.downloads, workspace, self._tools.transfers
        )
        self._task = with_input_types(self._task, [d.type for d in done])
        if done:
            self._report = self._report.know(input_bytes=str(sum(d.bytes for d in done)))
        await self._advance(Phase.SUBMITTING)

    async def _check_room(self, workspace: Workspace) -> None:
        asked = self._claim.needs.disk_bytes
        free = await workspace.free_bytes() if asked else None
        if free is not None and free < asked:
            raise DiskFull(
                f"The task asks for {asked} bytes of disk, and {free} are free: ask for less "
                "in resources.disk_gb, or free some."
            )

    async def _watch(self) -> Ended:
        async for seen in self._backend.watch(self._job):
            if isinstance(seen, Ended):
                return seen
            await self._note(seen)
        raise BackendError("The backend stopped telling about the job.")

    async def _note(self, seen: Seen) -> None:
        """Show how the running job stands."""
        progress = seen.progress
        grown = len(progress.ended) > len(self._report.executors)
        if grown:
            self._report = self._report.ran(progress.ended, seen.tails)
        if self._state is State.INITIALIZING and (progress.running is not None or progress.ended):
            await self._advance(Phase.SUBMITTED, Transition.START)
        elif grown:
            await self._write(Change(logs=self._logs()))
        tails = live_tails(progress.running, seen.tails)
        if tails:
            with suppress(StoreError):
                await self._tools.store.tail(self._claim.fence, tails)

    def _vanished(self, ended: Ended) -> Outcome:
        sentence = ended.reason
        if ended.started:
            sentence += " It may have run, so it is only run again where retries were asked for."
        return Outcome(Transition.SYSTEM_FAILED, sentence)

    async def _collect(self, result: Result, ended: Ended) -> None:
        """Take the runner's result into the log; a job that has run has been RUNNING."""
        self._report = self._report.ran(result.executors, ended.tails).say(*result.warnings)
        if result.host:
            self._report = self._report.know(host=result.host)
        ran = result.executors or result.status == TIME_LIMIT
        if ran and self._state is State.INITIALIZING:
            await self._advance(Phase.COLLECTING, Transition.START)

    async def _send_out(self, outcome: Outcome, plan: Plan, result: Result) -> Outcome:
        """Send out the outputs that exist, whatever became of the executors."""
        outputs = self._task.outputs or []
        self._task = with_output_types(self._task, result.types)
        if result.found:
            failure = await self._upload(result.found)
            if failure and outcome.transition is Transition.COMPLETE:
                return Outcome(Transition.SYSTEM_FAILED, failure)
            self._report = self._report.say(failure)
        self._empty_patterns(plan, result)
        return missing_outputs(outcome, plan.outputs, result) if outputs else outcome

    def _empty_patterns(self, plan: Plan, result: Result) -> None:
        matched = {f.output for f in result.found}
        for number, output in enumerate(plan.outputs):
            if output.pattern and number not in matched:
                self._report = self._report.say(f"Nothing matches outputs[{number}] {output.path}.")

    async def _upload(self, found: Sequence[Found]) -> str | None:
        """Send files out; a sentence where it failed."""
        await self._advance(Phase.UPLOADING)
        uploads = uploads_of(self._task.outputs or [], found)
        sent: list[Uploaded] = []
        try:
            await stage_out(
                self._tools.storages,
                uploads,
                self._backend.workspace(self._job),
                self._tools.transfers,
                sent.append,
            )
        except StagingError as error:
            return str(error)
        finally:
            arrived = {(u.path, u.url) for u in sent}
            done = (u for u in uploads if (u.path, u.url) in arrived)
            self._report = self._report.sent(output_log(u) for u in done)
        return None

    async def _settle(self, outcome: Outcome) -> None:
        """Decide between an end and another attempt, and keep that until all is cleaned."""
        retries = self._retries()
        failed = outcome.transition in (Transition.SYSTEM_FAILED, Transition.PREEMPT)
        self._report = self._report.say(*self._claim.warnings, outcome.sentence)
        if failed and self._attempt.number <= retries.allowed:
            outcome = replace(outcome, transition=Transition.RETRY)
        self._attempt = replace(self._attempt, outcome=outcome.to_json())
        await self._advance(Phase.CLEANING)
        await self._finish(outcome)

    async def _finish(self, outcome: Outcome) -> None:
        await self._clean()
        await self._write(
            Change(
                transition=outcome.transition,
                logs=self._logs(time.time()),
                reason=outcome.sentence,
                delay_seconds=self._retries().delay(self._attempt.number),
            )
        )

    def _retries(self) -> Retries:
        asked = self._claim.needs.parameters.get("max_retries", "0")
        return Retries(int(asked), self._tools.retry_delay_seconds)

    async def _end_canceled(self) -> None:
        """End the job, and only then say so."""
        if self._attempt.handle and self._attempt.phase in _STARTED:
            await self._backend.cancel(self._job)
            async for seen in self._backend.watch(self._job):
                if isinstance(seen, Ended) and seen.result:
                    self._report = self._report.ran(seen.result.executors, seen.tails)
        await self._clean()
        self._report = self._report.say(*self._claim.warnings, "The task was canceled.")
        with suppress(Superseded):
            await self._write(
                Change(transition=Transition.END_CANCEL, logs=self._logs(time.time()))
            )

    async def _clean(self) -> None:
        if not self._attempt.handle:
            return
        try:
            await self._backend.clean(self._job)
        except BackendError as error:
            _log.warning("Task %s: %s", self._claim.fence.task_id, error)
            self._report = self._report.say(f"Something was left behind: {error}")

    async def _advance(self, phase: Phase, transition: Transition | None = None) -> None:
        """Write that the attempt has come to `phase`."""
        self._attempt = replace(self._attempt, phase=phase)
        await self._write(
            Change(
                transition=transition,
                attempt=self._attempt,
                body=self._new_body(),
                logs=self._logs(),
            )
        )
        self._written = self._task

    def _new_body(self) -> Text | None:
        """The document, where the types of its files have become known since it was written."""
        if self._task == self._written:
            return None
        return body_text(self._task, creation_time_of(self._claim.body.full))

    def _logs(self, ended: float | None = None) -> Text:
        return logs_text([*self._earlier, self._report.log(ended)])

    async def _write(self, change: Change) -> None:
        """Write, for as long as it takes while the lease is ours; Superseded where refused."""
        delay = 0.05
        while True:
            try:
                written = await self._tools.store.write(self._claim.fence, change)
                break
            except StoreError as error:
                _log.warning("Task %s: %s; trying again", self._claim.fence.task_id, error)
                await asyncio.sleep(delay)
                delay = min(5.0, delay * 2)
        self._take(written)

    def _take(self, written: Written) -> None:
        if written.lost:
            self._lease.lose()
        if not written.applied:
            raise Superseded(f"the task is {written.state}")
        self._state = written.state


def _new_report(claim: Claim) -> Report:
    return Report(timestamp(time.time()), {"backend": claim.attempt.backend})
