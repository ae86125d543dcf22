"""The end of a job on a Pulsar: its runner, its containers, its directory."""

import asyncio

from tesp.backends.pulsar import wire
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.small_jobs import SmallJobs
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendError, TransferFailed
from tesp.runner.plan import CANCEL_FILE, CLAIM_FILE, RESULT_FILE

# A runner that is told to end has to stop its container.
_GRACE_SECONDS = 30.0
_KILL_SECONDS = 10.0
# After its result a job has only to leave.
_LEAVE_SECONDS = 5.0
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5


class Closing:
    """Ends jobs, and removes what they leave."""

    def __init__(self, name: str, client: RestPulsarClient, jobs: SmallJobs) -> None:
        """`name` is the Pulsar's."""
        self._name, self._client, self._jobs = name, client, jobs

    async def cancel(self, job: Name) -> None:
        """Ask the runner to end; kill it where it does not; then see that nothing is left."""
        status = await self._client.status(job)
        if status and (status.gone or (status.state in wire.FINAL and _finished(status))):
            return
        asked = await self._ask(job)
        if status and status.state in (wire.QUEUED, wire.PREPROCESSING):
            # Where it is only about to start, its runner finds that it was asked to end.
            await self._client.cancel(job)
            if status.state == wire.PREPROCESSING and asked:
                return
        status = await self._end_of(job, _GRACE_SECONDS, or_result=True) if asked else None
        if status is None:
            await self._client.cancel(job)
            status = await self._end_of(job, _KILL_SECONDS, or_result=True)
        if status is None or not _finished(status):
            await self._jobs.remove(job)

    async def _ask(self, job: Name) -> bool:
        """Ask the runner to end; False where there is no room on the disk even for that."""
        try:
            await self._client.write(job, wire.in_metadata(CANCEL_FILE), once(b""))
        except TransferFailed:
            return False
        return True

    async def _end_of(self, job: Name, seconds: float, *, or_result: bool = False) -> Status | None:
        """Wait for the end of a job; None where it did not come in time. `or_result`: its result
        will do, whatever Pulsar says; its containers may still be there then."""
        try:
            async with asyncio.timeout(seconds):
                return await self._ended(job, or_result)
        except TimeoutError:
            return None

    async def _ended(self, job: Name, or_result: bool) -> Status:
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            status = await self._client.status(job)
            if status and (status.state in wire.FINAL or status.gone):
                return status
            # What Pulsar says of a job after a restart it says for ever.
            if or_result and pause >= _LONGEST_PAUSE_SECONDS and await self._has_result(job):
                return Status(wire.COMPLETE)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.5)

    async def _has_result(self, job: Name) -> bool:
        return await self._client.read(job, _RESULT, 1) is not None

    async def clean(self, job: Name, *, over: bool) -> None:
        """Remove a job's directory, and see that it is gone; what still runs is ended first.
        `over`: it has a result, and Pulsar knows that it ended."""
        if not over and not await self._settled(job):
            return
        await self._client.delete(job)
        if await self._is_gone(job):
            return
        for pause in (*wire.REMOVAL_PAUSES, None):
            # Files of the container's own user: the runner removes those through a container.
            try:
                await self._jobs.discard(job)
            except BackendError:
                if pause is None:
                    raise
            await self._client.delete(job)
            if await self._is_gone(job):
                return
            # What a scheduler starts at that very moment writes on for a while.
            if pause is not None:
                await asyncio.sleep(pause)
        raise BackendError(f"The directory of {job.id} on the Pulsar {self._name} is still there.")

    async def _settled(self, job: Name) -> bool:
        """See that nothing of a job runs; False where there is no such job."""
        status = await self._client.status(job)
        if status and status.gone:
            return False
        if status is None or status.state not in wire.FINAL:
            if await self._has_result(job):
                # Gone before it has left, it would be in Pulsar's books until the next restart.
                await self._end_of(job, _LEAVE_SECONDS)
                await self._take_out(job)
            else:
                await self.cancel(job)
        elif not _finished(status):
            await self._jobs.remove(job)
        return True

    async def _take_out(self, job: Name) -> None:
        """Put back into a scheduler's queue, a job would start again. One that is said to run is
        left alone: after a restart Pulsar kills whatever has got the number of its process."""
        status = await self._client.status(job)
        if status and status.state in (wire.QUEUED, wire.OTHER):
            await self._client.cancel(job)

    async def _is_gone(self, job: Name) -> bool:
        status = await self._client.status(job)
        return status is not None and status.gone


_RESULT = wire.in_metadata(RESULT_FILE)


def _finished(status: Status) -> bool:
    """Whether nothing of an ended job can still run: it has a result, or never began."""
    report = status.report()
    return bool(
        (report and report.result) or status.wrote(RESULT_FILE) or status.wrote(CLAIM_FILE) is False
    )
