"""`tesp bus beacon`: show every few minutes that the bus is alive."""

from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, site
from tesp.cli.configuration import SettingsFile

if TYPE_CHECKING:
    from tesp.bus import Bus


def beacon(
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two.")] = 300.0,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    settings_file: SettingsFile = None,
) -> None:
    """Say the date and the time (UTC) on PREFIX/test/beacon/status, for ever.

    Example: tesp bus beacon --mqtt-env COGUK
    """
    from tesp.agents.beacon import Beacon
    from tesp.cli.bus.running import until_stopped

    chosen = site(settings_file, host, broker, ca_file, prefix)

    async def work(bus: "Bus") -> None:
        await until_stopped(Beacon(bus, chosen.prefix, every).run())

    chosen.run(work)
