"""The rules that a request is held to, beyond the types of its fields. Pure.

A task that can never run is refused, with every problem, its field's path and the mend.
What is judged are the configured limits, never how the backends are just now.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tesp.errors import InvalidTask, Problem, UnsupportedUrl
from tesp.tes import moments, paths
from tesp.tes.models import Executor, FileType, Input, Output, Resources, TaskSubmission
from tesp.tes.needs import GIGABYTE, Needs, in_bytes
from tesp.tes.offers import PARAMETER, Offers
from tesp.tes.parameters import Parameters, sort_out

CheckUrl = Callable[[str, bool, FileType | None], None]
"""Takes a URL, whether it is written, and the type asked for; raises UnsupportedUrl, with the
mend, where that can never work."""

BACKEND_PARAMETERS = frozenset({"max_retries", "timeout", "gpus", *moments.PARAMETERS})


@dataclass(frozen=True, slots=True)
class Limits:
    """What can be asked for: the most that any backend is configured to have (None: no limit),
    the backend parameters it understands, and the sizes of a request in bytes."""

    cpus: float | None = None
    ram_bytes: int | None = None
    disk_bytes: int | None = None
    parameters: frozenset[str] = BACKEND_PARAMETERS
    max_retries: int = 10
    content_bytes: int = 1 << 20
    argument_bytes: int = 131_071  # one more is E2BIG on Linux
    body_bytes: int = 16 << 20
    offers: Offers = field(default_factory=Offers)
    callback_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Admitted:
    """A task that may run: as it is stored, what it needs, and what its owner is to be told."""

    submission: TaskSubmission
    needs: Needs
    warnings: tuple[str, ...] = ()


def admit(submission: TaskSubmission, limits: Limits, check_url: CheckUrl) -> Admitted:
    """Judge a task; raises InvalidTask with every problem found."""
    resources = submission.resources or Resources()
    parameters = sort_out(
        resources.backend_parameters or {},
        bool(resources.backend_parameters_strict),
        limits.parameters,
        limits.max_retries,
        limits.callback_hosts,
    )
    needs = needs_of(resources, parameters.needs)
    problems = [*_problems(submission, limits, check_url), *parameters.problems]
    problems = problems or list(_backends(needs, submission.tags or {}, limits.offers))
    if problems:
        raise InvalidTask(problems)
    return Admitted(_without_dropped(submission, parameters), needs, parameters.warnings)


def needs_of(resources: Resources, parameters: Mapping[str, str]) -> Needs:
    """What the resources of a task ask of a backend."""
    return Needs(
        cpus=float(resources.cpu_cores or 0),
        ram_bytes=in_bytes(resources.ram_gb or 0),
        disk_bytes=in_bytes(resources.disk_gb or 0),
        preemptible=bool(resources.preemptible),
        zones=tuple(resources.zones or ()),
        parameters=parameters,
    )


def _without_dropped(submission: TaskSubmission, parameters: Parameters) -> TaskSubmission:
    if not parameters.warnings or submission.resources is None:
        return submission
    kept = {"backend_parameters": parameters.kept or None}
    resources = submission.resources.model_copy(update=kept)
    return submission.model_copy(update={"resources": resources})


def _problems(task: TaskSubmission, limits: Limits, check_url: CheckUrl) -> Iterator[Problem]:
    if not task.executors:
        yield Problem("executors", "must hold at least one executor")
    for n, executor in enumerate(task.executors):
        yield from _executor(f"executors[{n}]", executor, limits)
    for n, item in enumerate(task.inputs or ()):
        yield from _input(f"inputs[{n}]", item, limits, check_url)
    yield from _overlaps(task.inputs or [])
    for n, output in enumerate(task.outputs or ()):
        yield from _output(f"outputs[{n}]", output, check_url)
    for n, volume in enumerate(task.volumes or ()):
        yield from _place(f"volumes[{n}]", volume, paths.parts(volume))
    if task.resources:
        yield from _resources(task.resources, limits)


def _executor(field: str, executor: Executor, limits: Limits) -> Iterator[Problem]:
    if message := _image(executor.image):
        yield Problem(f"{field}.image", message)
    if not executor.command:
        yield Problem(f"{field}.command", "must hold at least the program to run")
    for n, argument in enumerate(executor.command):
        if message := _argument(argument, limits):
            yield Problem(f"{field}.command[{n}]", message)
    for name, value in (executor.env or {}).items():
        if message := _variable(name, value, limits):
            yield Problem(f"{field}.env.{name}", message)
    for name in ("workdir", "stdin"):
        path = getattr(executor, name)
        if path is not None and (message := paths.unsound(path)):
            yield Problem(f"{field}.{name}", message)
    for name in ("stdout", "stderr"):
        path = getattr(executor, name)
        if path is not None:
            yield from _stream(f"{field}.{name}", path)


def _image(image: str) -> str | None:
    if not image:
        return "must name a container image, such as `alpine:3.20`"
    if image.startswith("-"):
        return "must not begin with `-`; it would be read as an option"
    if " " in image or not image.isprintable():
        return "must hold no white space and no control characters"
    return None


def _argument(text: str, limits: Limits) -> str | None:
    if "\0" in text:
        return "holds a NUL character; take it out"
    if len(text) * 4 > limits.argument_bytes and len(text.encode()) > limits.argument_bytes:
        most = limits.argument_bytes
        return f"is longer than {most} bytes, the most of one argument; bring it in as an input"
    return None


def _variable(name: str, value: str, limits: Limits) -> str | None:
    if not name or "=" in name:
        return "must have a name that is not empty and holds no `=`"
    return _argument(f"{name}={value}", limits)


def _stream(field: str, path: str) -> Iterator[Problem]:
    if not paths.parts(path) or path.endswith("/"):
        yield Problem(field, "must be the path of a file")
    else:
        yield from _place(field, path, paths.parts(path)[:-1])


def _place(field: str, path: str, directory: list[str]) -> Iterator[Problem]:
    """A path that makes `directory` a mount."""
    if message := paths.unsound(path) or paths.reserved(directory):
        yield Problem(field, message)


def _input(field: str, item: Input, limits: Limits, check_url: CheckUrl) -> Iterator[Problem]:
    yield from _place(f"{field}.path", item.path, paths.parts(item.path))
    if item.content:
        # Not one check of the url: the specification has it ignored.
        yield from _content(field, item, limits)
    elif item.url:
        yield from _url(f"{field}.url", item, False, check_url)
    elif item.content is None:
        yield Problem(f"{field}.url", "is required where there is no content")


def _content(field: str, item: Input, limits: Limits) -> Iterator[Problem]:
    if item.type == "DIRECTORY":
        yield Problem(f"{field}.type", "must be FILE: content makes a file")
    if item.content and len(item.content.encode()) > limits.content_bytes:
        most = limits.content_bytes
        yield Problem(f"{field}.content", f"is larger than {most} bytes; bring it in by its url")


def _url(field: str, item: Input | Output, writing: bool, check_url: CheckUrl) -> Iterator[Problem]:
    url = item.url or ""
    if "\0" in url:
        yield Problem(field, "holds a NUL character; take it out")
        return
    try:
        check_url(url, writing, item.type)
    except UnsupportedUrl as error:
        yield Problem(field, str(error))


def _overlaps(inputs: list[Input]) -> Iterator[Problem]:
    """Two inputs at one path, or one below a file."""
    first: dict[tuple[str, ...], int] = {}
    for n, item in enumerate(inputs):
        names = tuple(paths.parts(item.path))
        if first.setdefault(names, n) != n:
            yield Problem(f"inputs[{n}].path", f"is the path of inputs[{first[names]}] too")
    file: tuple[str, ...] | None = None
    for names in sorted(first):  # what is below a path follows it
        n = first[names]
        if file is not None and names[: len(file)] == file:
            message = f"lies below inputs[{first[file]}], which is a file"
            yield Problem(f"inputs[{n}].path", message)
        elif inputs[n].type == "FILE" or inputs[n].content:
            file = names


def _output(field: str, item: Output, check_url: CheckUrl) -> Iterator[Problem]:
    found = list(_place(f"{field}.path", item.path, paths.directory_of(item.path, item.type)))
    yield from found
    if not found and paths.is_pattern(item.path) and (message := _prefix(item)):
        yield Problem(f"{field}.path_prefix", message)
    if item.url:
        yield from _url(f"{field}.url", item, True, check_url)
    else:
        yield Problem(f"{field}.url", "is required")


def _prefix(item: Output) -> str | None:
    if not item.path_prefix:
        return "is required where the path holds wildcards (`*`, `?`, `[`)"
    if paths.is_pattern(item.path_prefix):
        return "must hold no wildcards; end it before the first one"
    if not ("/" + "/".join(paths.parts(item.path))).startswith(item.path_prefix):
        return "must be how the path begins"
    return None


def _resources(resources: Resources, limits: Limits) -> Iterator[Problem]:
    needs = needs_of(resources, {})
    asked = (
        ("cpu_cores", needs.cpus, limits.cpus, 1, "cores"),
        ("ram_gb", needs.ram_bytes, limits.ram_bytes, GIGABYTE, "GB"),
        ("disk_gb", needs.disk_bytes, limits.disk_bytes, GIGABYTE, "GB"),
    )
    for name, wanted, most, unit, label in asked:
        if most is not None and wanted > most:
            message = f"is more than any backend has; ask for {most / unit:g} {label} at most"
            yield Problem(f"resources.{name}", message)


def _backends(needs: Needs, tags: Mapping[str, str], offers: Offers) -> Iterator[Problem]:
    """Whether there is a backend for the task at all; where there is none, which wish to drop."""
    if not offers.all or offers.takers(needs, tags):
        return
    names = ", ".join(sorted(o.name for o in offers.all))
    wished = needs.parameters.get(PARAMETER)
    if wished is not None and all(o.name != wished for o in offers.all):
        field = f"resources.backend_parameters.{PARAMETER}"
        yield Problem(field, f"there is no {wished!r} here; choose one of {names}")
    elif needs.zones and not offers.known_zones().intersection(needs.zones):
        zones = ", ".join(sorted(offers.known_zones()))
        yield Problem("resources.zones", f"no backend is there; choose from {zones}")
    else:
        routed = offers.routed(tags)
        where = names if routed is None else f"{', '.join(sorted(routed))}, where its tags lead"
        yield Problem(
            "resources",
            f"nothing takes a task of {needs.cpus:g} cores, {needs.ram_bytes / GIGABYTE:g} GB, "
            f"zones {list(needs.zones) or 'any'} and preemptible {needs.preemptible} at once, of "
            f"{where}; ask for less of these, or leave one out",
        )
