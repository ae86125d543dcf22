"""`tesp serve`: the service itself. The only command that loads it."""

import os
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.banner import banner
from tesp.cli.configuration import (
    DataDir,
    SettingsFile,
    configured,
    make_own_roots,
    require_guarded,
)
from tesp.cli.sockets import address, inherited

if TYPE_CHECKING:
    from tesp.app import Ready


class RoleChoice(StrEnum):
    """What this process does."""

    ALL = "all"
    API = "api"
    DISPATCHER = "dispatcher"


Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")
]
Role = Annotated[RoleChoice, typer.Option(help="Both, or one part of several over one MongoDB.")]
AllowSandbox = Annotated[
    bool | None,
    typer.Option("--allow-sandbox", help="Where no container engine works, run in a sandbox."),
]


def serve(
    host: Host = None,
    port: Port = None,
    data: DataDir = None,
    settings_file: SettingsFile = None,
    role: Role = RoleChoice.ALL,
    allow_sandbox: AllowSandbox = None,
) -> None:
    """Serve the task execution service until Ctrl-C.

    Flags go over TESP_ variables, and those over the settings file.

    Example: tesp serve --port 8000 --data ~/tesp --allow-sandbox
    """
    sockets = inherited(os.environ)
    flags = address(sockets) if sockets else {"host": host, "port": port}
    local = {"allow_sandbox": allow_sandbox}
    settings = configured(settings_file, data, server=flags, local=local)
    if role is not RoleChoice.DISPATCHER:
        require_guarded(settings.server.host, settings.server.allow_open)
    make_own_roots(settings)
    from tesp import app

    app.serve(settings, role.value, _announce, sockets)


def _announce(ready: "Ready") -> None:
    print(banner(ready.url, ready.runtime, ready.data_dir, ready.pulsars), flush=True)
