"""Which of a task's directories are directories of shared roots, seen in place. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tesp.staging import Place
from tesp.tes import paths
from tesp.tes.braces import base_of
from tesp.tes.models import Input, Output, TaskSubmission

PlaceOf = Callable[[str], Place | None]
"""Where a URL lies in a shared root, if it does."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A place of a shared root that the task sees. It is an input's, or a directory that is made
    where it is missing. `point` is where a mount of the workspace needs one to mount it on."""

    field: str
    path: str
    made: bool = False
    point: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """`path`, in a directory that is seen in place, is to lead to the input at `target`."""

    path: str
    target: str
    field: str


def nowhere(url: str) -> None:
    """No root is shared."""
    del url


def clean(path: str) -> str:
    """A container path without doubled or trailing slashes."""
    return "/" + "/".join(paths.parts(path))


def rest_below(path: str, above: str) -> str | None:
    """The way from `above` to `path`, empty for itself; None where it is not there."""
    if path == above:
        return ""
    start = above.rstrip("/") + "/"
    return path[len(start) :] if path.startswith(start) else None


def place_of_input(item: Input, place_of: PlaceOf) -> Place | None:
    """Where an input lies in a shared root; content has no place."""
    return place_of(item.url) if item.url and not item.content else None


def seen_in_place(
    task: TaskSubmission, roots: Iterable[str], place_of: PlaceOf
) -> Mapping[str, str]:
    """The writable roots of a task that are a directory of a shared root, with its path there.

    Such is a root where inputs come from, and outputs go to, the same directory under the same
    names. Nothing may have to be brought into it, and volumes, which start empty, are never it.
    """
    homes = {root: _home(task, root, place_of) for root in roots}
    return {root: home for root, home in homes.items() if home is not None}


def _home(task: TaskSubmission, root: str, place_of: PlaceOf) -> str | None:
    if any(rest_below(clean(v), root) is not None for v in task.volumes or ()):
        return None
    sent = [o for o in task.outputs or () if _is_below(o.path, root) and place_of(o.url)]
    homes = {_home_of_output(o, root, place_of) for o in sent}
    home = homes.pop() if len(homes) == 1 else None
    if home is None:
        return None
    inputs = [i for i in task.inputs or () if _is_below(i.path, root)]
    places = [(clean(i.path), place_of_input(i, place_of)) for i in inputs]
    origins = {place and _match(root, path, place.path, place.root) for path, place in places}
    return home if home in origins and all(place for _, place in places) else None


def _is_below(path: str, root: str) -> bool:
    return rest_below(clean(path), root) is not None


def _home_of_output(output: Output, root: str, place_of: PlaceOf) -> str | None:
    """What directory `root` must be for this output to lie where it is to go."""
    path, place = clean(output.path), place_of(output.url)
    if place is None or not place.writable:
        return None
    if paths.is_pattern(path):
        path, whole = clean(output.path_prefix or ""), path
        return _match(root, path, place.path, place.root) if _is_below(whole, path) else None
    if named := base_of(path, output.url):
        base = place_of(named[1])
        return _match(root, named[0], base.path, base.root) if base else None
    if output.url.endswith("/") and output.type != "DIRECTORY":
        return None
    return _match(root, path, place.path, place.root)


def _match(root: str, path: str, place: str, top: str) -> str | None:
    """The directory that is at `root`, where what is at `path` is `place`; inside of `top`."""
    rest = rest_below(path, root)
    if rest is None:
        further = rest_below(root, path)
        return None if further is None else f"{place}/{further}"
    if not rest:
        return place
    if not place.endswith("/" + rest):
        return None
    home = place[: -len(rest) - 1]
    return home if rest_below(home, top) is not None else None
