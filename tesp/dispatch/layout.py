"""Where a task's paths lie in a workspace. Pure: a submission in, a layout out.

Writable paths (volumes, the directories of outputs, of stdout and of stderr) merge into
roots. An input inside a root is staged there as a real file, so that the command may move or
replace it; one inside a DIRECTORY input is staged into that; all others are bound read-only.

What lies in a shared file root is never brought in: it is bound in place, a DIRECTORY as writable
as its root. A root that is a directory of a shared one (see `seen_in_place`) is bound itself, and
inputs from elsewhere are linked into it, as the workflow engines do it on a shared file system.
"""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tesp.dispatch.places import (
    Bound,
    Link,
    PlaceOf,
    clean,
    nowhere,
    place_of_input,
    rest_below,
    seen_in_place,
)
from tesp.runner.plan import INPUTS_DIR, ROOTS_DIR, Mount
from tesp.runner.plan import Executor as PlannedExecutor
from tesp.runner.plan import Output as PlannedOutput
from tesp.staging import Download, Place
from tesp.tes import paths
from tesp.tes.braces import base_of
from tesp.tes.models import Executor, Input, Output, TaskSubmission


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories to make and downloads to do in the workspace, what is to be seen and made in
    shared roots, and what the plan says of it all. A mount's source in a shared root is absolute
    and stands as the URL names it: links in it are still to be resolved."""

    directories: tuple[str, ...]
    downloads: tuple[Download, ...]
    mounts: tuple[Mount, ...]
    outputs: tuple[PlannedOutput, ...]
    executors: tuple[PlannedExecutor, ...]
    places: tuple[Bound, ...] = ()
    links: tuple[Link, ...] = ()


def layout_of(task: TaskSubmission, place_of: PlaceOf = nowhere) -> Layout:
    """Lay a task out; `place_of` tells where a URL lies in a shared root."""
    inputs = task.inputs or []
    held = _Held(task, place_of)
    for path, number in sorted((clean(i.path), n) for n, i in enumerate(inputs)):
        held.take(path, number, inputs[number])
    downloads = [_download(i, n, held) for n, i in enumerate(inputs) if n not in held.placed]
    return Layout(
        directories=tuple(_directories(task, held.roots, held.holders)),
        downloads=tuple(downloads),
        mounts=held.mounts(),
        outputs=tuple(_output(o) for o in task.outputs or ()),
        executors=tuple(_executor(e) for e in task.executors),
        places=(*held.made(task), *held.placed.values()),
        links=tuple(held.links),
    )


class _Held:
    """Every mount's target with its source: the roots, and the inputs that are inside no other."""

    def __init__(self, task: TaskSubmission, place_of: PlaceOf) -> None:
        self._place_of = place_of
        self._live = _live(task.inputs or (), place_of)
        wanted = [p for p in _writable(task) if _holder(p, self._live) is None]
        roots = _roots([*wanted, *(clean(v) for v in task.volumes or ())])
        self.homes = seen_in_place(task, roots, place_of)
        self.roots = {**roots, **self.homes}
        self.holders = dict(self.roots)
        self.placed: dict[int, Bound] = {}
        self.links: list[Link] = []
        self._writable = {*self.roots, *self._live}

    def take(self, path: str, number: int, item: Input) -> None:
        """Give an input its place; those above it have theirs."""
        place = place_of_input(item, self._place_of)
        holder = _holder(path, self.holders)
        there = _place(path, self.holders) if holder else None
        if place is not None:
            field = f"inputs[{number}]"
            point = there if there and not there.startswith("/") else None
            self.placed[number] = Bound(field, place.path, point=point)
            self._show(field, path, place, there)
        elif there is None or there.startswith("/"):
            self.holders[path] = f"{INPUTS_DIR}/{number}"

    def _show(self, field: str, path: str, place: Place, there: str | None) -> None:
        """Mount what lies in a shared root, or link to it, unless it is to be seen already."""
        holder = _holder(path, self.holders)
        if there == place.path and (path not in self._live or holder in self._writable):
            return
        if holder in self.homes and there:
            self.links.append(Link(there, place.path, field))
            self.holders.setdefault(place.root, place.root)
            if path in self._live:
                self.holders[place.path] = place.path
                self._writable.add(place.path)
        else:
            self.holders[path] = place.path

    def mounts(self) -> tuple[Mount, ...]:
        """The mounts in order of their targets."""
        targets = sorted(self.holders)
        return tuple(Mount(self.holders[t], t, t in self._writable) for t in targets)

    def made(self, task: TaskSubmission) -> Iterable[Bound]:
        """The directories in shared roots that the task writes to."""
        for path in self.homes.values():
            yield Bound("outputs", path, made=True)
        for path in sorted(set(_writable(task))):
            if (live := _holder(path, self._live)) and path != live:
                yield Bound("outputs", f"{self._live[live]}/{rest_below(path, live)}", made=True)


def _live(inputs: Sequence[Input], place_of: PlaceOf) -> dict[str, str]:
    """The DIRECTORY inputs that a task may write to, with their places."""
    found = {}
    for item in inputs:
        place = place_of_input(item, place_of)
        if place is not None and place.writable and item.type == "DIRECTORY":
            found[clean(item.path)] = place.path
    return found


def _writable(task: TaskSubmission) -> list[str]:
    streams = [s for e in task.executors for s in (e.stdout, e.stderr) if s]
    return [
        *(_directory_of(o) for o in task.outputs or ()),
        *(posixpath.dirname(clean(s)) for s in streams),
    ]


def _directory_of(output: Output) -> str:
    if named := base_of(output.path, output.url):
        return named[0]
    return "/" + "/".join(paths.directory_of(output.path, output.type))


def _roots(paths: Iterable[str]) -> dict[str, str]:
    """The outermost of the paths, each with its directory in the workspace."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if _holder(path, kept) is None:
            kept.append(path)
    return {path: f"{ROOTS_DIR}/{n}" for n, path in enumerate(kept)}


def _holder(path: str, holders: Iterable[str]) -> str | None:
    """The innermost of `holders` that `path` is at or below."""
    inside = [h for h in holders if rest_below(path, h) is not None]
    return max(inside, key=len, default=None)


def _place(path: str, holders: Mapping[str, str]) -> str:
    holder = _holder(path, holders)
    assert holder is not None, path
    rest = path[len(holder) :].strip("/")
    return f"{holders[holder]}/{rest}" if rest else holders[holder]


def _download(item: Input, number: int, held: _Held) -> Download:
    return Download(
        file=_place(clean(item.path), held.holders),
        field=f"inputs[{number}]",
        url=None if item.content else item.url,
        content=item.content or (None if item.url else ""),
        type=item.type,
    )


def _directories(
    task: TaskSubmission, roots: Mapping[str, str], holders: Mapping[str, str]
) -> Iterable[str]:
    """The roots, all writable paths inside them, and the mount points of mounts in mounts; what
    is in a shared root is not made here."""
    workdirs = [clean(e.workdir) for e in task.executors if e.workdir]
    inside = [w for w in workdirs if _holder(w, roots) is not None]
    # A command makes what is below its own directory, and fails where `mkdir` finds it made.
    inner = {p for p in _writable(task) if _holder(p, inside) in (None, p)}
    inner |= {clean(v) for v in task.volumes or ()}
    yield from (source for source in roots.values() if not source.startswith("/"))
    for path in sorted(inner):
        if path not in roots:
            yield from _in_workspace(path, holders)
    for target in holders:
        outer = {t: h for t, h in holders.items() if t != target}
        if target in roots and _holder(target, outer) is not None:
            yield from _in_workspace(target, outer)


def _in_workspace(path: str, holders: Mapping[str, str]) -> Iterable[str]:
    place = _place(path, holders)
    if not place.startswith("/"):
        yield place


def _output(item: Output) -> PlannedOutput:
    path = clean(item.path)
    if named := base_of(path, item.url):
        return PlannedOutput(path, named[0], item.type, True)
    pattern = paths.is_pattern(path)
    prefix = item.path_prefix if pattern else None
    return PlannedOutput(path, prefix, item.type, pattern)


def _executor(item: Executor) -> PlannedExecutor:
    return PlannedExecutor(
        image=item.image,
        command=list(item.command),
        workdir=item.workdir,
        stdin=item.stdin and clean(item.stdin),
        stdout=item.stdout and clean(item.stdout),
        stderr=item.stderr and clean(item.stderr),
        env=dict(item.env or {}),
        ignore_error=bool(item.ignore_error),
    )
