"""How a job's files come to it and from it: carried by the dispatcher, or by the job's own side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tesp.dispatch.binding import JobFiles, bring_in_place, resting
from tesp.dispatch.errands import fetches_of
from tesp.dispatch.layout import Layout
from tesp.errors import DiskFull, StagingError
from tesp.runner.plan import Fetch, Plan, Result
from tesp.staging import FileType, Upload, Uploaded, Workspace
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.staging.transfer import stage_in, stage_out
from tesp.store import TransferStore


@dataclass(frozen=True, slots=True)
class Brought:
    """The inputs are there, or will be: their types by field, the bytes moved so far."""

    types: Mapping[str, FileType]
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """Those outputs that arrived, and a sentence where one did not."""

    uploads: Sequence[Upload] = ()
    failure: str | None = None


class Carriage(Protocol):
    """Moves the files of one job."""

    async def bring_in(self, layout: Layout, disk_bytes: int) -> Brought:
        """Bring the inputs in, as far as that is done before the job starts."""
        ...

    async def instructed(self, plan: Plan, layout: Layout) -> Plan:
        """The plan with what the job's side has to move."""
        ...

    async def send_out(self, uploads: Sequence[Upload], result: Result) -> Sent:
        """See that all files that were found are where they belong."""
        ...


class ByDispatcher:
    """The dispatcher streams between the sources and the job's workspace."""

    def __init__(
        self, workspace: Workspace, storages: Storages, transfers: asyncio.Semaphore
    ) -> None:
        self._workspace, self._storages, self._transfers = workspace, storages, transfers

    async def bring_in(self, layout: Layout, disk_bytes: int) -> Brought:
        """Stage the inputs in; those in shared roots are made ready where they are."""
        await self._check_room(disk_bytes)
        types = await bring_in_place(self._storages.shared, layout, self._workspace)
        done = await stage_in(self._storages, layout.downloads, self._workspace, self._transfers)
        types |= {d.field: b.type for d, b in zip(layout.downloads, done, strict=True)}
        return Brought(types, sum(d.bytes for d in done))

    async def _check_room(self, asked: int) -> None:
        free = await self._workspace.free_bytes() if asked else None
        if free is not None and free < asked:
            raise DiskFull(
                f"The task asks for {asked} bytes of disk, and {free} are free: ask for less "
                "in resources.disk_gb, or free some."
            )

    async def instructed(self, plan: Plan, layout: Layout) -> Plan:
        """There is nothing for the job's side to move."""
        return plan

    async def send_out(self, uploads: Sequence[Upload], result: Result) -> Sent:
        """Send out what does not lie where it is to go."""
        here = await resting(self._storages.shared, uploads)
        moved = [u for u in uploads if u not in here]
        files = JobFiles(self._workspace, self._storages)
        sent: list[Uploaded] = []
        failure = None
        try:
            await stage_out(self._storages, moved, files, self._transfers, sent.append)
        except StagingError as error:
            failure = str(error)
        arrived = {(u.path, u.url) for u in sent}
        return Sent([u for u in uploads if u in here or (u.path, u.url) in arrived], failure)


class ByJob:
    """The job's side fetches and sends, at the URLs of one attempt."""

    def __init__(
        self,
        task_id: str,
        number: int,
        storages: Storages,
        keys: Keys,
        store: TransferStore,
        transfers: asyncio.Semaphore,
    ) -> None:
        self._task_id, self._number = task_id, number
        self._transfers = transfers
        self._storages, self._keys, self._store = storages, keys, store
        self._fetches: Sequence[Fetch] | None = None

    async def bring_in(self, layout: Layout, disk_bytes: int) -> Brought:
        """Find out which files there are."""
        return Brought(await self._look(layout))

    async def _look(self, layout: Layout) -> Mapping[str, FileType]:
        self._fetches, types = await fetches_of(
            self._storages,
            layout.downloads,
            self._keys,
            self._task_id,
            self._number,
            self._transfers,
        )
        return types

    async def instructed(self, plan: Plan, layout: Layout) -> Plan:
        """The plan with the URLs; who adopted the attempt looks again what there is."""
        if self._fetches is None:
            await self._look(layout)
        send_url = self._keys.send_url(self._task_id, self._number)
        return plan._replace(fetches=list(self._fetches or ()), send_url=send_url)

    async def send_out(self, uploads: Sequence[Upload], result: Result) -> Sent:
        """What the job's side says of it, and why the service took something not."""
        remarks = await self._store.remarks(self._task_id, self._number)
        arrived = [uploads[number] for number in result.sent or ()]
        if result.send_error is None and len(arrived) == len(uploads):
            return Sent(arrived)
        reason = result.send_error or "The job ended before its outputs were sent."
        return Sent(arrived, " ".join([reason, *remarks]))
