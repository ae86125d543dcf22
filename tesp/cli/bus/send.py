"""`tesp bus send`: one message; where no broker takes it, it waits on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.bus.flags import PAIR
from tesp.cli.bus.messages import told
from tesp.cli.bus.site import BrokerName, CaFile, Host, SpoolDir, site
from tesp.cli.codes import Code
from tesp.cli.configuration import SettingsFile
from tesp.cli.terminal import note
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Bus, Message
    from tesp.bus.sender import Sent

Topic = Annotated[str, typer.Option("-t", "--topic", help="Where to.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attr", metavar="KEY VALUE", help="What it says; may be given again."),
]


def send(
    topic: Topic,
    attr: Attributes = None,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    spool: SpoolDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Send a message: a flat JSON object of the attributes, the user and the time.

    Three tries, then it waits on disk, and goes before the next that is sent: exit code 75.

    Example: tesp bus send -t COGUK/elan/status --attr status finished
    """
    message = told(topic, dict(_pair(one) for one in attr or ()))
    _end(_deliver(message, host, broker, ca_file, spool, settings_file))


def flush(
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    spool: SpoolDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Send what waits on disk. Exit code 75 where it has to wait on.

    Example: tesp bus flush --host mqtt://mq.example
    """
    _end(_deliver(None, host, broker, ca_file, spool, settings_file))


def _deliver(
    message: "Message | None",
    host: str | None,
    broker: str | None,
    ca_file: Path | None,
    spool: Path | None,
    settings_file: Path | None,
) -> "Sent":
    chosen = site(settings_file, host, broker, ca_file)
    results: list[Sent] = []

    async def work(bus: "Bus") -> None:
        sender = chosen.sender(bus, spool)
        results.append(await (sender.send([message]) if message else sender.flush()))

    chosen.run(work)
    return results[0]


def _end(sent: "Sent") -> None:
    from tesp.bus.sender import Sent

    if sent is Sent.SPOOLED:
        note("tesp: no broker takes it now: it waits on disk, and goes before the next")
        raise typer.Exit(Code.SPOOLED)


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition(PAIR)
    if not sign:
        raise SettingsError("--attr wants a key and a value: --attr status finished")
    return key, value
