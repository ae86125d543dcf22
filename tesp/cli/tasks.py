"""`tesp get`, `list`, `cancel` and `wait`: tasks that the service has."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from tesp.cli.codes import Code, code_of_states
from tesp.cli.options import DEFAULT_URL, TaskId, TaskIds, Url, connect
from tesp.cli.service import Document, Service
from tesp.cli.terminal import note, show_json, show_table, tags_text
from tesp.cli.waiting import Progress, TimeIsUp, wait_for
from tesp.errors import NotFound
from tesp.tes.states import State


class ViewChoice(StrEnum):
    """How much of a task is shown."""

    MINIMAL = "MINIMAL"
    BASIC = "BASIC"
    FULL = "FULL"


Tags = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Only tasks with this tag; KEY alone: any value."),
]


def get(
    task_id: TaskId,
    view: Annotated[
        ViewChoice, typer.Option(case_sensitive=False, help="How much of it.")
    ] = ViewChoice.FULL,
    url: Url = DEFAULT_URL,
) -> None:
    """Print a task as JSON.

    Example: tesp get 01jd0c5zq8 --view BASIC
    """
    with connect(url) as service:
        show_json(service.task(task_id, view))


def list_tasks(
    state: Annotated[
        State | None, typer.Option(case_sensitive=False, help="Only tasks in this state.")
    ] = None,
    name_prefix: Annotated[
        str | None, typer.Option(help="Only tasks whose name begins so.")
    ] = None,
    tag: Tags = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """List tasks, the newest first.

    Example: tesp list --state RUNNING --tag project=ocean
    """
    filters = {**query(state, name_prefix, tag or ()), "view": ViewChoice.BASIC.value}
    with connect(url) as service:
        tasks = service.tasks(filters, limit)
        if as_json:
            show_json(list(tasks))
        else:
            show_table(("ID", "STATE", "CREATED", "NAME", "TAGS"), map(row, tasks))


def query(state: State | None, name_prefix: str | None, tags: Sequence[str]) -> dict[str, Any]:
    """The parameters of a list request. The n-th tag_value belongs to the n-th tag_key."""
    pairs = [tag.partition("=") for tag in tags]
    asked = {
        "state": state and state.value,
        "name_prefix": name_prefix,
        "tag_key": [key for key, _, _ in pairs],
        "tag_value": [value for _, _, value in pairs],
    }
    return {k: v for k, v in asked.items() if v}


def row(task: Document) -> tuple[str, ...]:
    """One line of the table."""
    created = str(task.get("creation_time", ""))
    tags = tags_text(task.get("tags") or {})
    return task["id"], task.get("state", "UNKNOWN"), created, task.get("name", ""), tags


def cancel(
    task_ids: TaskIds,
    wait: Annotated[bool, typer.Option("--wait", help="Return when they have ended.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Cancel tasks. One that has ended already stays as it is.

    Example: tesp cancel 01jd0c5zq8 --wait
    """
    with connect(url) as service:
        for task_id in task_ids:
            _named(service.cancel, task_id)
        if wait:
            with Progress() as progress:
                wait_for(service, task_ids, progress, None)


def _named(act: Any, task_id: str) -> None:
    try:
        act(task_id)
    except NotFound as error:
        raise NotFound(f"{task_id}: {error}") from error


def wait(
    task_ids: TaskIds,
    timeout: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Wait no longer.")
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Wait until tasks have ended; the exit code tells how.

    Example: tesp wait 01jd0c5zq8 --timeout 3600
    """
    with connect(url) as service:
        states = _waited(service, task_ids, timeout)
    raise typer.Exit(code_of_states(states.values()))


def _waited(service: Service, task_ids: Sequence[str], timeout: float | None) -> dict[str, State]:
    try:
        with Progress() as progress:
            return wait_for(service, task_ids, progress, timeout)
    except TimeIsUp as error:
        note(f"tesp: {error}")
        raise typer.Exit(Code.TIMED_OUT) from error
