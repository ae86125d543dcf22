"""What a task sees of shared roots: made ready before it starts, told apart from what has to be
moved when it has ended."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from tesp.dispatch.layout import Layout
from tesp.dispatch.places import Bound
from tesp.runner.plan import Plan
from tesp.staging import FileType, Stream, Upload, Workspace
from tesp.staging.shared import SharedFiles
from tesp.staging.storages import Storages
from tesp.staging.transfer import naming


async def bring_in_place(
    shared: SharedFiles, layout: Layout, workspace: Workspace
) -> dict[str, FileType]:
    """Make directories, links and mount points; the type of each input, by its field."""
    types: dict[str, FileType] = {}
    for bound in layout.places:
        with naming(bound.field):
            if bound.made:
                await shared.make_directory(bound.path)
                continue
            types[bound.field] = await shared.type(bound.path)
            await _make_point(bound, types[bound.field], workspace)
    for link in layout.links:
        with naming(link.field):
            await shared.link(link.path, link.target)
    return types


async def _make_point(bound: Bound, type: FileType, workspace: Workspace) -> None:
    if bound.point is None:
        return
    if type == "DIRECTORY":
        await workspace.make_directory(bound.point)
    else:
        await workspace.write(bound.point, _nothing())


async def _nothing() -> AsyncIterator[bytes]:
    yield b""


async def with_real_sources(shared: SharedFiles, plan: Plan) -> Plan:
    """The plan with every source in a shared root by a path that is free of links; the runner
    takes no other."""
    mounts = []
    for mount in plan.mounts:
        source = mount.source
        real = await shared.real(source) if source.startswith("/") else source
        mounts.append(mount._replace(source=real))
    return plan._replace(mounts=mounts)


async def resting(shared: SharedFiles, uploads: Sequence[Upload]) -> set[Upload]:
    """Those that lie where they are to go: they were written there through a mount."""
    return {u for u in uploads if u.file.startswith("/") and await shared.is_same(u.url, u.file)}


class JobFiles:
    """The files that a job left: in its workspace, or in what it saw of a shared root."""

    def __init__(self, workspace: Workspace, storages: Storages) -> None:
        self._workspace, self._storages = workspace, storages
        self.write = workspace.write
        self.make_directory = workspace.make_directory
        self.free_bytes = workspace.free_bytes

    def open(self, file: str) -> AbstractAsyncContextManager[Stream]:
        """Open a regular file for reading; one outside the workspace is held to the file roots."""
        if file.startswith("/"):
            return self._storages.of(file).open(file)
        return self._workspace.open(file)
