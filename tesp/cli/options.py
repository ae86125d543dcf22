"""The options and arguments that several commands share."""

import os
from typing import Annotated

import typer

from tesp.cli.address import DEFAULT_URL, api_url, credentials
from tesp.cli.service import Service
from tesp.cli.terminal import note

Url = Annotated[
    str,
    typer.Option("--url", envvar="TESP_URL", help="Where the service is.", show_default=True),
]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.")]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of tasks.")]
Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="Task documents in JSON; - is standard input."),
]

__all__ = ["DEFAULT_URL", "Files", "TaskId", "TaskIds", "Url", "connect"]


def connect(url: str) -> Service:
    """The service at this URL, with the credentials of the environment."""
    return Service(api_url(url), credentials(os.environ), note)
