"""Where a task's paths lie in a workspace. Pure: a submission in, a layout out.

Writable paths (volumes, the directories of outputs, of stdout and of stderr) merge into
roots. An input inside a root is staged there as a real file, so that the command may move or
replace it; one inside a DIRECTORY input is staged into that; all others are bound read-only.
"""

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tesp.runner.plan import INPUTS_DIR, ROOTS_DIR, Mount
from tesp.runner.plan import Executor as PlannedExecutor
from tesp.runner.plan import Output as PlannedOutput
from tesp.staging import Download
from tesp.tes import paths
from tesp.tes.models import Executor, Input, Output, TaskSubmission


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories to make and downloads to do in the workspace, and what the plan says of it."""

    directories: tuple[str, ...]
    downloads: tuple[Download, ...]
    mounts: tuple[Mount, ...]
    outputs: tuple[PlannedOutput, ...]
    executors: tuple[PlannedExecutor, ...]


def layout_of(task: TaskSubmission) -> Layout:
    """Lay a task out."""
    roots = _roots(_writable(task))
    inputs = task.inputs or []
    holders = _holders(inputs, roots)
    mounts = [Mount(holder, target, target in roots) for target, holder in holders.items()]
    downloads = [_download(i, n, holders) for n, i in enumerate(inputs)]
    return Layout(
        directories=tuple(_directories(task, roots, holders)),
        downloads=tuple(downloads),
        mounts=tuple(sorted(mounts, key=lambda m: m.target)),
        outputs=tuple(_output(o) for o in task.outputs or ()),
        executors=tuple(_executor(e) for e in task.executors),
    )


def clean(path: str) -> str:
    """A container path without doubled or trailing slashes."""
    return "/" + "/".join(paths.parts(path))


def _writable(task: TaskSubmission) -> list[str]:
    streams = [s for e in task.executors for s in (e.stdout, e.stderr) if s]
    return [
        *(clean(v) for v in task.volumes or ()),
        *(_directory_of(o) for o in task.outputs or ()),
        *(posixpath.dirname(clean(s)) for s in streams),
    ]


def _directory_of(output: Output) -> str:
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
    inside = [h for h in holders if path == h or path.startswith(h.rstrip("/") + "/")]
    return max(inside, key=len, default=None)


def _holders(inputs: Sequence[Input], roots: dict[str, str]) -> dict[str, str]:
    """Every mount's target with its place in the workspace: the roots, and the inputs that
    are inside no other."""
    holders = dict(roots)
    for path, number in sorted((clean(i.path), n) for n, i in enumerate(inputs)):
        if _holder(path, holders) is None:
            holders[path] = f"{INPUTS_DIR}/{number}"
    return holders


def _place(path: str, holders: dict[str, str]) -> str:
    holder = _holder(path, holders)
    assert holder is not None, path
    rest = path[len(holder) :].strip("/")
    return f"{holders[holder]}/{rest}" if rest else holders[holder]


def _download(item: Input, number: int, holders: dict[str, str]) -> Download:
    return Download(
        file=_place(clean(item.path), holders),
        field=f"inputs[{number}]",
        url=None if item.content else item.url,
        content=item.content or (None if item.url else ""),
        type=item.type,
    )


def _directories(
    task: TaskSubmission, roots: dict[str, str], holders: dict[str, str]
) -> Iterable[str]:
    """The roots, all writable paths inside them, and the mount points of mounts in mounts."""
    yield from roots.values()
    for path in sorted(set(_writable(task))):
        if path not in roots:
            yield _place(path, holders)
    for target in holders:
        outer = {t: h for t, h in holders.items() if t != target}
        if target in roots and _holder(target, outer) is not None:
            yield _place(target, outer)


def _output(item: Output) -> PlannedOutput:
    path = clean(item.path)
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
