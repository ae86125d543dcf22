"""What is stored of a running attempt: its phase, its task's document, its log.

Each change is one guarded write. A write that the store refuses means that somebody else has
the last word on the task: that is Superseded.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from tesp.backends import Job
from tesp.dispatch.lease import Lease
from tesp.dispatch.report import Outcome, Report, report_of
from tesp.errors import StoreError, TespError
from tesp.store import Change, Claim, LeaseStore, Phase
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

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 5.0


class Superseded(TespError):
    """A write was refused: the task is being canceled, or is another's."""


class Record:
    """One attempt as it is stored; `task` and `report` are changed here first, then written."""

    def __init__(self, claim: Claim, lease: Lease, store: LeaseStore) -> None:
        self._claim = claim
        self._lease = lease
        self._store = store
        self._attempt = claim.attempt
        self.state = claim.state
        self.task = submission_of(claim.body.full)
        self._written = self.task
        logs = attempts_of(claim.logs)
        self._earlier = logs[: claim.attempt.number - 1]
        begun = logs[claim.attempt.number - 1 :]
        self.report = report_of(begun[0]) if begun else _new_report(claim)

    @property
    def phase(self) -> Phase:
        """How far the attempt has come."""
        return self._attempt.phase

    @property
    def number(self) -> int:
        """Which attempt this is, from 1."""
        return self._attempt.number

    @property
    def handle(self) -> str:
        """The job's name at the backend, known before there is a job."""
        return self._attempt.handle or f"{self._claim.fence.task_id}-{self._attempt.number}"

    @property
    def job(self) -> Job | None:
        """The job, None before it has a place."""
        attempt = self._attempt
        return Job(self.handle, attempt.place) if attempt.place else None

    @property
    def outcome(self) -> Outcome | None:
        """What the attempt is to end with, once that is settled."""
        kept = self._attempt.outcome
        return Outcome.from_json(kept) if kept else None

    def take_place(self, job: Job) -> None:
        """The job has a workspace; this is stored with the next phase."""
        self._attempt = replace(self._attempt, handle=job.handle, place=job.place)

    async def advance(self, phase: Phase, transition: Transition | None = None) -> None:
        """Write that the attempt has come to `phase`."""
        self._attempt = replace(self._attempt, phase=phase)
        task = self.task
        await self._write(
            Change(
                transition=transition,
                attempt=self._attempt,
                body=self._new_body(),
                logs=self._logs(),
            )
        )
        self._written = task

    async def note(self) -> None:
        """Write the log as it stands."""
        await self._write(Change(logs=self._logs()))

    async def settle(self, outcome: Outcome) -> None:
        """Keep what the attempt is to end with, until all is cleaned."""
        self._attempt = replace(self._attempt, outcome=outcome.to_json())
        await self.advance(Phase.CLEANING)

    async def end(self, outcome: Outcome, delay_seconds: float = 0.0) -> None:
        """Write the attempt's end; the lease goes with it."""
        await self._write(
            Change(
                transition=outcome.transition,
                logs=self._logs(time.time()),
                reason=outcome.sentence,
                delay_seconds=delay_seconds,
            )
        )

    async def show(self, tails: Mapping[str, str]) -> None:
        """Show live tails; they are no loss where the store cannot take them."""
        with suppress(StoreError):
            await self._store.tail(self._claim.fence, tails)

    def _new_body(self) -> Text | None:
        """The document, where the types of its files have become known since it was written."""
        if self.task == self._written:
            return None
        return body_text(self.task, creation_time_of(self._claim.body.full))

    def _logs(self, ended: float | None = None) -> Text:
        return logs_text([*self._earlier, self.report.log(ended)])

    async def _write(self, change: Change) -> None:
        """Write, for as long as it takes while the lease is ours."""
        wait = _FIRST_WAIT_SECONDS
        while True:
            try:
                written = await self._store.write(self._claim.fence, change)
                break
            except StoreError as error:
                _log.warning("Task %s: %s; trying again", self._claim.fence.task_id, error)
                await asyncio.sleep(wait)
                wait = min(_LONGEST_WAIT_SECONDS, wait * 2)
        if written.lost:
            self._lease.lose()
        # A phase may be written while the task is being canceled, and is not to be begun then.
        if not written.applied or written.state is State.CANCELING:
            raise Superseded(f"the task is {written.state}")
        self.state = written.state


def _new_report(claim: Claim) -> Report:
    return Report(timestamp(time.time()), {"backend": claim.attempt.backend})
