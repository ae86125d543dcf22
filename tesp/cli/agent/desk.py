"""What an agent of the command line is called, where it listens, and where it keeps what it
keeps."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from tesp.cli.bus.site import Site, site
from tesp.errors import SettingsError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,30}")
_LONGEST_PREFIX = 30

Who = Annotated[
    str,
    typer.Option(
        "--who",
        metavar="NAME",
        help="What this agent is called: two of one name would take each other's messages.",
    ),
]


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says, as all agents have it."""

    settings_file: Path | None
    data: Path | None
    host: str | None
    broker: str | None
    ca_file: Path | None
    prefix: str | None


def keeping_site(flags: Flags, who: str) -> Site:
    """The broker, which keeps what comes for the agent while it is away."""
    if not _NAME.fullmatch(who):
        raise SettingsError(f"--who: {who!r} is no name: letters, digits, _ and -, 31 at most")
    there = plain_site(flags)
    client_id = _name_at_the_broker(there, who)
    return replace(there, broker=there.broker.model_copy(update={"client_id": client_id}))


def plain_site(flags: Flags) -> Site:
    """The broker, which keeps nothing for us."""
    return site(
        flags.settings_file,
        flags.host,
        flags.broker,
        flags.ca_file,
        flags.prefix,
        data=flags.data,
    )


def _name_at_the_broker(there: Site, who: str) -> str:
    """Begins with the user's name: by that brokers can tell what is whose."""
    prefix, user = there.prefix.replace("/", "-")[:_LONGEST_PREFIX], there.broker.username
    own = f"{prefix}-{who}".lstrip("-")
    return own if not user or user == prefix else f"{user}-{own}"


def notebook_file(there: Site, who: str, chosen: Path | None) -> Path:
    """Where an agent keeps what it keeps."""
    return chosen or there.settings.data_dir / "agents" / f"{who}.db"
