"""`tesp serve`: the service itself. The only command that loads it."""

from enum import StrEnum
from typing import Annotated

import typer

from tesp.cli.banner import banner
from tesp.cli.configuration import DataDir, SettingsFile, configured, require_guarded


class RoleChoice(StrEnum):
    """What this process does."""

    ALL = "all"
    API = "api"
    DISPATCHER = "dispatcher"


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")
    ] = None,
    data: DataDir = None,
    settings_file: SettingsFile = None,
    role: Annotated[
        RoleChoice, typer.Option(help="Both, or one part of several over one MongoDB.")
    ] = RoleChoice.ALL,
    allow_sandbox: Annotated[
        bool | None,
        typer.Option(
            "--allow-sandbox", help="Where no container engine works, run tasks in a sandbox."
        ),
    ] = None,
) -> None:
    """Serve the task execution service until Ctrl-C.

    Flags go over TESP_ variables, and those over the settings file.

    Example: tesp serve --port 8000 --data ~/tesp --allow-sandbox
    """
    settings = configured(
        settings_file,
        data,
        server={"host": host, "port": port},
        local={"allow_sandbox": allow_sandbox},
    )
    if role is not RoleChoice.DISPATCHER:
        require_guarded(settings.server.host, settings.server.allow_open)
    from tesp import app

    app.serve(
        settings,
        role.value,
        lambda ready: print(banner(ready.url, ready.runtime, ready.data_dir), flush=True),
    )
