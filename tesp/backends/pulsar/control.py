"""Small jobs about other jobs, for a Pulsar without REST: to look at them, to end them, to post
what they left, to remove them.
"""

import asyncio
import logging
import secrets
from collections.abc import Coroutine

from tesp.backends.pulsar import control_lines, wire
from tesp.backends.pulsar.again import until_run
from tesp.backends.pulsar.control_lines import PREFIX, Look
from tesp.backends.pulsar.messages import Staging
from tesp.backends.pulsar.requests import Requests
from tesp.backends.pulsar.updates import Updates
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendError, BackendUnavailable
from tesp.settings import PulsarSettings

_log = logging.getLogger(__name__)

_WAIT_SECONDS = 120.0
_ASK_SECONDS = 5.0
_AT_ONCE = 4
_BATCH = 32
_BATCH_SECONDS = 2.0
_AGAIN_SECONDS = 60.0
_NOTHING = Staging()


class Control:
    """The control jobs of one Pulsar. Raises BackendUnavailable where there is no answer."""

    def __init__(self, settings: PulsarSettings, requests: Requests, updates: Updates) -> None:
        self._name, self._python = settings.name, settings.python
        self._control_manager = settings.control_manager
        self._requests, self._updates = requests, updates
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._doomed: dict[str, list[str]] = {}
        self._spent: dict[str, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def look(self, job: Name) -> Look:
        """How a job stands by its own files, whatever its Pulsar believes."""
        status = await self._run(job, control_lines.look_line(self._python, job.id))
        look = control_lines.look_in(status.job_stdout)
        if look is None:
            raise self._failed(status)
        return look

    async def end(self, job: Name, *, waits: bool) -> None:
        """Have a job end by itself, and remove its containers where its runner is gone.
        `waits`: Pulsar has not started it, and is not to."""
        status = await self._run(job, control_lines.end_line(self._python, job.id, waits=waits))
        if status.returncode != 0:
            raise self._failed(status)

    async def forbid(self, job: Name) -> bool:
        """Have a job not started; False where Pulsar is just starting it."""
        status = await self._run(job, control_lines.forbid_line(job.id))
        forbidden = control_lines.forbidden(status.job_stdout)
        if forbidden is None:
            raise self._failed(status)
        return forbidden

    async def collect(self, job: Name, send_url: str) -> bool:
        """Have the published outputs of a job posted again; whether all of them arrived."""
        status = await self._run(
            job, control_lines.collect_line(job.id), Staging(send_url=send_url)
        )
        return status.state == wire.COMPLETE and control_lines.collected(status.job_stdout)

    async def discard(self, job: Name) -> None:
        """Remove a job; returns when its directory is gone. What a scheduler starts at that very
        moment writes on, until it finds that it is not wanted: it is tried again."""
        line = control_lines.discard_line(self._python, [job.id])
        for pause in (*wire.REMOVAL_PAUSES, None):
            status = await self._run(job, line)
            if status.state == wire.COMPLETE and not control_lines.left_in(status.job_stdout):
                return
            if pause is not None:
                await asyncio.sleep(pause)
        raise BackendError(
            f"The directory {job.id} on the Pulsar {self._name} could not be removed. "
            f"{status.words()}".strip()
        )

    def discard_again(self, job: Name) -> None:
        """Remove what may have come in while a job was removed."""
        self._do(self._discard_later(job))

    def discard_soon(self, job: Name) -> None:
        """Remove a job that has ended, together with others."""
        manager = self._manager(job)
        doomed = self._doomed.setdefault(manager, [])
        doomed.append(job.id)
        if len(doomed) == _BATCH:
            self._do(self._discard_batch(manager, 0))
        elif len(doomed) == 1:
            self._do(self._discard_batch(manager, _BATCH_SECONDS))

    async def close(self) -> None:
        """Send out what waits to be removed: it is removed, whoever is there to see it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for manager in list(self._doomed):
            doomed = self._doomed.pop(manager)
            line = self._tidy(manager) + control_lines.discard_line(self._python, doomed)
            try:
                await self._requests.run(_control_job(manager), line, {}, _NOTHING)
            except BackendError as error:
                _log.warning("%s Left there: %s", error, ", ".join(doomed))

    async def _discard_later(self, job: Name) -> None:
        await asyncio.sleep(_AGAIN_SECONDS)
        self.discard_soon(job)

    async def _discard_batch(self, manager: str, seconds: float) -> None:
        """Remove what is to be removed in so many seconds; try until it can be."""
        while True:
            await asyncio.sleep(seconds)
            doomed = self._doomed.pop(manager, [])
            if not doomed:
                return
            try:
                await self._discard_all(manager, doomed)
                return
            except BaseException as error:
                self._doomed.setdefault(manager, []).extend(doomed)
                if not isinstance(error, BackendError):
                    raise
                _log.warning("%s", error)
            seconds = _ASK_SECONDS

    async def _discard_all(self, manager: str, doomed: list[str]) -> None:
        line = control_lines.discard_line(self._python, doomed)
        status = await self._run(Name(manager, ""), line)
        if left := control_lines.left_in(status.job_stdout):
            _log.warning("Pulsar %s: left behind: %s", self._name, ", ".join(left))

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _manager(self, job: Name) -> str:
        return self._control_manager or job.manager

    async def _run(self, about: Name, line: str, staging: Staging = _NOTHING) -> Status:
        """Run a control job, and give its last status; another, where its script was in hand."""
        return await until_run(lambda: self._run_once(about, line, staging))

    async def _run_once(self, about: Name, line: str, staging: Staging) -> Status:
        """Run one; its directory goes with a later one's."""
        job = _control_job(self._manager(about))
        try:
            async with self._turns:
                await self._requests.find(job.manager)
                line = self._tidy(job.manager) + line
                return await self._ended(job, line, staging)
        finally:
            self._spent.setdefault(job.manager, []).append(job.id)

    async def _ended(self, job: Name, line: str, staging: Staging) -> Status:
        try:
            with self._updates.follow(job.id) as news:
                await self._requests.run(job, line, {}, staging, lifetime_seconds=_WAIT_SECONDS)
                async with asyncio.timeout(_WAIT_SECONDS):
                    while True:
                        status = await news.next(_ASK_SECONDS)
                        if status and status.state in wire.FINAL:
                            return status
                        if status is None:
                            await self._requests.ask(job)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"The Pulsar {self._name} has not run a control job within {_WAIT_SECONDS:g} s: "
                "see control_manager in the settings of this Pulsar."
            ) from error

    def _tidy(self, manager: str) -> str:
        """Remove the directories of control jobs that have ended; what is forgotten here is
        removed for its age."""
        spent = self._spent.pop(manager, [])
        return f"{control_lines.removal(spent)}; " if spent else ""

    def _failed(self, status: Status) -> BackendUnavailable:
        return BackendUnavailable(
            f"The Pulsar {self._name} could not run a control job ({status.state}). "
            f"{status.words()}".strip()
        )


def _control_job(manager: str) -> Name:
    return Name(manager, f"{PREFIX}{secrets.token_hex(6)}")
