"""Small jobs about other jobs, over REST: to end them, to remove them, to learn why they failed."""

import asyncio
import secrets

from tesp.backends import package
from tesp.backends.pulsar import command, control_lines, wire
from tesp.backends.pulsar.again import until_run
from tesp.backends.pulsar.control_lines import PREFIX
from tesp.backends.pulsar.rest import RestPulsarClient, once
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendError, TransferFailed
from tesp.settings import PulsarSettings

_WAIT_SECONDS = 120.0
# What Pulsar wrote of a failure is worth so much waiting.
_WHY_SECONDS = 15.0
_SHORTEST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.5


class SmallJobs:
    """Each runs beside the job that it is about, on the control manager where there is one."""

    def __init__(self, settings: PulsarSettings, client: RestPulsarClient) -> None:
        self._settings, self._client = settings, client

    async def remove(self, job: Name) -> None:
        """End the runner of a job, and its containers."""
        await self._carry_out(job, "remove", command.workspace_of(job.id))

    async def discard(self, job: Name) -> None:
        """Remove a job's directory, files of a container's own user too."""
        await self._carry_out(job, "discard", command.directory_of(job.id))

    async def why(self, job: Name) -> str:
        """What Pulsar wrote into a job's directory on why it could not start it."""
        line = control_lines.look_line(self._settings.python, job.id)
        try:
            status = await self._run(job, line, _WHY_SECONDS)
        except BackendError:
            return ""
        look = control_lines.look_in(status.job_stdout)
        return look.words if look else ""

    async def _carry_out(self, about: Name, verb: str, path: str) -> None:
        line = command.control_line(self._settings.python, verb, path)
        status = await self._run(about, line, _WAIT_SECONDS)
        if status.returncode != 0:
            raise BackendError(
                f"What {about.id} left on the Pulsar {self._settings.name} stays there "
                f"({verb}, {status.state}): {status.words()}"
            )

    async def _run(self, about: Name, line: str, seconds: float) -> Status:
        """The last status of a small job; of another, where its script was in hand."""
        return await until_run(lambda: self._run_once(about, line, seconds))

    async def _run_once(self, about: Name, line: str, seconds: float) -> Status:
        """The last status of a small job, whose directory goes at once."""
        manager = self._settings.control_manager or about.manager
        job = Name(manager, f"{PREFIX}{secrets.token_hex(6)}")
        await self._client.set_up(job)
        try:
            await self._client.write(job, wire.ARCHIVE, once(package.packed()))
            await self._client.submit(job, line, {})
            async with asyncio.timeout(seconds):
                return await self._ended(job)
        except TransferFailed as error:
            raise BackendError(f"A small job cannot be run: {error}.") from error
        except TimeoutError as error:
            await self._client.cancel(job)
            raise BackendError(
                f"The Pulsar {self._settings.name} has not run a small job within {seconds:g} s: "
                "see control_manager in the settings of this Pulsar."
            ) from error
        finally:
            await self._client.delete(job)

    async def _ended(self, job: Name) -> Status:
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            status = await self._client.status(job)
            if status and (status.state in wire.FINAL or status.gone):
                return status
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 1.5)
