"""`tesp bus mails`: what became of the mails that came in."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tesp.cli.configuration import DataDir, SettingsFile, configured
from tesp.cli.terminal import note, show_json, show_table


def mails(
    last: Annotated[int, typer.Option("--last", min=1, help="How many; the newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    data: DataDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Show the latest mails, on the machine that takes them, and what became of their messages.

    Example: tesp bus mails --last 100
    """
    from tesp.ingress import entrances
    from tesp.ingress.memory import mail_counts

    file = entrances.mails_file(configured(settings_file, data))
    found = mail_counts(file, last)
    if as_json:
        show_json([one._asdict() for one in found])
        return
    if not found:
        note(f"No mail has come in: {file} tells of none")
        return
    rows = [(_moment(one.time), one.mail, *map(str, one[2:])) for one in found]
    show_table(("WHEN", "MAIL", "RECEIVED", "DELIVERED", "DROPPED", "DUPLICATE"), rows)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
