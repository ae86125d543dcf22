"""`tesp submit` and `tesp run`: tasks out of files."""

import sys
import uuid
from collections.abc import Sequence
from typing import Annotated

import typer

from tesp.cli.codes import Code, code_of_states
from tesp.cli.documents import read_document
from tesp.cli.options import DEFAULT_URL, Files, Url, connect
from tesp.cli.report import show_outcome
from tesp.cli.service import Service
from tesp.cli.terminal import note
from tesp.cli.waiting import Progress, wait_for
from tesp.errors import InvalidTask, Problem

Key = Annotated[
    str | None,
    typer.Option(
        "--idempotency-key",
        metavar="KEY",
        help="The same key with the same task gives the same id, for 24 hours. One FILE only.",
    ),
]

Wait = Annotated[bool, typer.Option(help="Wait for the end, and show it.")]
CancelOnInterrupt = Annotated[
    bool | None, typer.Option(help="On Ctrl-C cancel the tasks, or let them go on. Default: ask.")
]


def submit(files: Files, idempotency_key: Key = None, url: Url = DEFAULT_URL) -> None:
    """Submit tasks and print their ids, one a line.

    Example: tesp submit task.json
    """
    with connect(url) as service:
        for task_id in submitted(service, files, idempotency_key):
            print(task_id)


def run(
    files: Files,
    wait: Wait = True,
    cancel_on_interrupt: CancelOnInterrupt = None,
    idempotency_key: Key = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Submit tasks, follow them to their end, and show outputs, or why they failed.

    Example: tesp run task.json
    """
    with connect(url) as service:
        task_ids = submitted(service, files, idempotency_key)
        if not wait:
            print("\n".join(task_ids))
            return
        try:
            with Progress() as progress:
                states = wait_for(service, task_ids, progress, None)
        except KeyboardInterrupt:
            _interrupted(service, task_ids, cancel_on_interrupt)
            raise typer.Exit(Code.INTERRUPTED) from None
        for task_id in task_ids:
            show_outcome(service.task(task_id, "FULL"))
    raise typer.Exit(code_of_states(states.values()))


def submitted(service: Service, files: Sequence[str], key: str | None) -> list[str]:
    """Submit each file; the ids. All are read before the first is sent."""
    if key and len(files) > 1:
        raise InvalidTask([Problem("--idempotency-key", "goes with one FILE, not several")])
    documents = [read_document(f) for f in files]
    ids = []
    for file, document in zip(files, documents, strict=True):
        try:
            ids.append(service.create(document, key or str(uuid.uuid4())))
        except InvalidTask as error:
            _name_submitted(ids)
            raise _of_file(error, file if len(files) > 1 else "") from error
    return ids


def _of_file(error: InvalidTask, file: str) -> InvalidTask:
    if not file:
        return error
    return InvalidTask([Problem(f"{file}: {p.field}", p.message) for p in error.problems])


def _name_submitted(ids: Sequence[str]) -> None:
    """Tasks before the refused one are running: they must not be lost from sight."""
    if ids:
        note(f"Submitted before that: {' '.join(ids)}")


def _interrupted(service: Service, task_ids: Sequence[str], cancel: bool | None) -> None:
    if cancel is None and sys.stdin.isatty() and sys.stderr.isatty():
        try:
            cancel = typer.confirm("\nCancel the tasks too?", default=False, err=True)
        except (KeyboardInterrupt, typer.Abort):
            cancel = False
    names = " ".join(task_ids)
    if cancel:
        for task_id in task_ids:
            service.cancel(task_id)
        note(f"Asked to cancel: {names}")
    else:
        note(f"Going on without us: {names}\nSee `tesp wait {names}`, `tesp cancel {names}`.")
