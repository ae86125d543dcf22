"""`tesp bus send`: messages to a broker, or by mail, and VOEvents; where nobody takes them, they
wait on disk."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesp.cli.bus.batches import mailed, objects, published
from tesp.cli.bus.flags import PAIR
from tesp.cli.bus.mailing import (
    MailBytes,
    MailFrom,
    MailSite,
    MailTo,
    Smtp,
    StartTls,
    mail_site,
)
from tesp.cli.bus.site import BrokerName, CaFile, Host, Site, site
from tesp.cli.bus.spools import SpoolDir, end
from tesp.cli.bus.voevents import To, Voevent, events, vtp_site
from tesp.cli.configuration import SettingsFile
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Message, Outlet
    from tesp.bus.sender import Sent

_MOST_MAIL_BYTES = 5_000_000

Topic = Annotated[str | None, typer.Option("-t", "--topic", help="Where to; a mail needs none.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attr", metavar="KEY VALUE", help="What it says; may be given again."),
]
Batch = Annotated[
    str | None,
    typer.Option("--batch", metavar="FILE", help="One JSON object a line instead; - for stdin."),
]
Attach = Annotated[
    list[Path] | None,
    typer.Option("--attach", metavar="FILE", help="By mail, beside a message of a type with files"),
]


def send(
    topic: Topic = None,
    attr: Attributes = None,
    batch: Batch = None,
    attach: Attach = None,
    host: Host = None,
    broker: BrokerName = None,
    smtp: Smtp = None,
    mail_to: MailTo = None,
    mail_from: MailFrom = None,
    starttls: StartTls = False,
    mail_bytes: MailBytes = _MOST_MAIL_BYTES,
    voevent: Voevent = None,
    to: To = None,
    ca_file: CaFile = None,
    spool: SpoolDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Send a message: a flat JSON object of the attributes, the user and the time.

    Three tries, then it waits on disk, and goes before the next that is sent: exit code 75.

    By mail, from nodes that nothing else leaves, in Prodiguer's format: --smtp. Events of
    telescopes, to a broker that speaks VTP: --voevent and --to.

    Example: tesp bus send -t COGUK/elan/status --attr status finished
    """
    if voevent or to is not None:
        if not voevent:
            raise SettingsError("--to says where VOEvents go: --voevent FILE is missing")
        said = {"-t": topic, "--attr": attr, "--batch": batch, "--attach": attach}
        others = {**said, **_ways(host, broker, smtp, mail_to, mail_from, starttls, ca_file)}
        vtp_site(settings_file, to, others).submit(events(voevent), spool)
        return
    fields = _fields(attr, batch)
    if smtp is None:
        messages = published(_topic(topic, attach), fields)
        _deliver(messages, site(settings_file, host, broker, ca_file), spool)
        return
    if topic is not None or host is not None or broker is not None:
        raise SettingsError("--smtp: a mail goes to no topic and no broker: leave -t and them out")
    way = mail_site(settings_file, smtp, mail_to, mail_from, starttls, ca_file, mail_bytes)
    _deliver(mailed(fields, attach or (), way.settings), way, spool)


def flush(
    host: Host = None,
    broker: BrokerName = None,
    smtp: Smtp = None,
    mail_to: MailTo = None,
    mail_from: MailFrom = None,
    starttls: StartTls = False,
    mail_bytes: MailBytes = _MOST_MAIL_BYTES,
    to: To = None,
    ca_file: CaFile = None,
    spool: SpoolDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Send what waits on disk. Exit code 75 where it has to wait on.

    Example: tesp bus flush --host mqtt://mq.example
    """
    if to is not None:
        others = _ways(host, broker, smtp, mail_to, mail_from, starttls, ca_file)
        vtp_site(settings_file, to, others).submit(None, spool)
        return
    if smtp is None:
        _deliver(None, site(settings_file, host, broker, ca_file), spool)
        return
    way = mail_site(settings_file, smtp, mail_to, mail_from, starttls, ca_file, mail_bytes)
    _deliver(None, way, spool)


def _deliver(messages: "list[Message] | None", way: Site | MailSite, spool: Path | None) -> None:
    """Send messages, or what waits for the same way."""
    results: list[Sent] = []

    async def work(outlet: "Outlet") -> None:
        sender = way.sender(outlet, spool)
        results.append(await (sender.flush() if messages is None else sender.send(messages)))

    way.run(work)
    end(results[0])


def _ways(
    host: str | None,
    broker: str | None,
    smtp: str | None,
    mail_to: str | None,
    mail_from: str | None,
    starttls: bool,
    ca_file: Path | None,
) -> dict[str, object]:
    """The flags of other ways."""
    mails = {"--smtp": smtp, "--mail-to": mail_to, "--mail-from": mail_from, "--starttls": starttls}
    return {"--host": host, "--broker": broker, **mails, "--ca-file": ca_file}


def _fields(attr: list[str] | None, batch: str | None) -> list[dict[str, Any]]:
    """What each message says."""
    if batch is None:
        return [dict(_pair(one) for one in attr or ())]
    if attr:
        raise SettingsError("--attr and --batch: a message is the one or the other")
    return objects(batch)


def _topic(topic: str | None, attach: list[Path] | None) -> str:
    if topic is None:
        raise SettingsError("-t is missing: the topic; only by mail (--smtp) there is none")
    if attach:
        raise SettingsError("--attach: files go by mail alone (--smtp)")
    return topic


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition(PAIR)
    if not sign:
        raise SettingsError("--attr wants a key and a value: --attr status finished")
    return key, value
