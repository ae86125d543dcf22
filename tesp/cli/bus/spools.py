"""Where messages wait that nobody takes at the moment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from tesp.cli.codes import Code
from tesp.cli.terminal import note

if TYPE_CHECKING:
    from tesp.bus import Outlet
    from tesp.bus.sender import Sender, Sent

SpoolDir = Annotated[
    Path | None,
    typer.Option(
        "--spool", metavar="DIR", help="Where messages wait that no broker takes at the moment."
    ),
]


def spool_of(place: str) -> Path:
    """The directory of what waits for this place."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "tesp" / "spool" / quote(place, safe="@:")


def sender_to(outlet: "Outlet", directory: Path) -> "Sender":
    """A sender whose messages are not lost where the outlet is away: they wait there."""
    from tesp.bus.sender import Sender
    from tesp.bus.spool import Spool

    return Sender(outlet, Spool(directory))


def end(sent: "Sent", is_refused: bool = False) -> None:
    """End the program with the code of what became of messages, unless all were taken."""
    from tesp.bus.sender import Sent

    if sent is Sent.SPOOLED:
        note("tesp: nobody takes it now: it waits on disk, and goes before the next")
    if is_refused:
        raise typer.Exit(Code.REFUSED)
    if sent is Sent.SPOOLED:
        raise typer.Exit(Code.SPOOLED)
