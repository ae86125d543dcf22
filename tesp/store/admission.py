"""From a submission to a task that may be stored, for whoever makes tasks."""

import time
from dataclasses import dataclass

from tesp.store import IdempotencyKey, NewTask
from tesp.tes import callbacks, moments
from tesp.tes.identifiers import new_task_id
from tesp.tes.models import TaskSubmission, timestamp
from tesp.tes.rules import CheckUrl, Limits, admit
from tesp.tes.views import body_text


@dataclass(frozen=True, slots=True)
class Admission:
    """What a task is judged by."""

    limits: Limits
    check_url: CheckUrl

    def task(
        self,
        submission: TaskSubmission,
        owner: str,
        key: IdempotencyKey | None,
        correlation: str | None = None,
        hops: int = 0,
    ) -> NewTask:
        """The task, to be stored; raises InvalidTask."""
        admitted = admit(submission, self.limits, self.check_url)
        submission, now = admitted.submission, time.time()
        return NewTask(
            id=new_task_id(),
            owner=owner,
            body=body_text(submission, timestamp(now)),
            name=submission.name,
            tags=submission.tags or {},
            needs=admitted.needs,
            warnings=admitted.warnings,
            idempotency=key,
            correlation=correlation,
            hops=hops,
            callback=admitted.needs.parameters.get(callbacks.PARAMETER),
            delay_seconds=moments.delay_seconds(admitted.needs.parameters, now),
        )
