"""`tesp bus raise` and `tesp bus cancel`: tell a pipeline what to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.bus.messages import told
from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, site
from tesp.cli.configuration import SettingsFile
from tesp.cli.terminal import note

if TYPE_CHECKING:
    from tesp.bus import Bus

Pipeline = Annotated[str, typer.Argument(metavar="PIPELINE", help="Its name: a listener's --who.")]


def raise_pipeline(
    pipeline: Pipeline,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    settings_file: SettingsFile = None,
) -> None:
    """Start a pipeline by hand, as after a failure.

    Example: tesp bus raise elan --mqtt-env COGUK
    """
    _tell(pipeline, "raise", host, broker, ca_file, prefix, settings_file)


def cancel_pipeline(
    pipeline: Pipeline,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    settings_file: SettingsFile = None,
) -> None:
    """End what a pipeline runs at the moment.

    Example: tesp bus cancel elan --mqtt-env COGUK
    """
    _tell(pipeline, "cancel", host, broker, ca_file, prefix, settings_file)


def _tell(
    pipeline: str,
    action: str,
    host: str | None,
    broker: str | None,
    ca_file: Path | None,
    prefix: str | None,
    settings_file: Path | None,
) -> None:
    """Now or never: an order that comes hours later is worse than none, so no spool."""
    from tesp.bus import tael

    chosen = site(settings_file, host, broker, ca_file, prefix)
    secret = {"secret": chosen.control_secret} if chosen.control_secret else {}
    message = told(tael.control_topic(chosen.prefix, pipeline), {"action": action, **secret})

    async def work(bus: "Bus") -> None:
        await bus.publish([message])

    chosen.run(work)
    note(f"{action}: sent to {message.topic}")
