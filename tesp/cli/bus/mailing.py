"""The relay that takes messages as mails, from nodes that nothing but mail leaves."""

import os
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from tesp.cli.bus.messages import user_name
from tesp.cli.bus.site import PASSWORD
from tesp.cli.bus.spools import sender_to, spool_of
from tesp.cli.configuration import configured
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Outlet
    from tesp.bus.mail_server import MailServer
    from tesp.bus.sender import Sender
    from tesp.ingress.mail_sender import Relay
    from tesp.settings import Settings

_TIMEOUT_SECONDS = 60.0

Smtp = Annotated[
    str | None,
    typer.Option(
        "--smtp",
        metavar="[USER@]HOST[:PORT]",
        help=f"By mail, over this relay; the user's password is {PASSWORD}. smtps://HOST: TLS "
        "from the beginning.",
    ),
]
MailTo = Annotated[
    str | None, typer.Option("--mail-to", metavar="ADDRESS", help="Whom the mails are for.")
]
MailFrom = Annotated[
    str | None,
    typer.Option("--mail-from", metavar="ADDRESS", help="Default: you at this machine."),
]
StartTls = Annotated[bool, typer.Option("--starttls", help="With --smtp: not without TLS.")]
MailBytes = Annotated[
    int, typer.Option("--mail-bytes", min=1000, metavar="N", help="The most of one mail.")
]


@dataclass(frozen=True, slots=True)
class MailSite:
    """The relay, and how to log."""

    relay: "Relay"
    settings: "Settings"

    def spool(self, directory: Path | None) -> Path:
        """Where messages for this relay wait."""
        server = self.relay.server
        place = f"{server.username or ''}@{server.host}:{server.port}:{self.relay.recipient}"
        return directory or spool_of(place)

    def sender(self, outlet: "Outlet", directory: Path | None) -> "Sender":
        """A sender whose messages are not lost where the relay is away."""
        return sender_to(outlet, self.spool(directory))

    def run(self, work: "Callable[[Outlet], Awaitable[None]]") -> None:
        """Do something with the relay."""
        import asyncio

        from tesp import __version__
        from tesp.ingress.mail_sender import MailSender
        from tesp.logs import configure_logging

        async def whole() -> None:
            await work(MailSender(self.relay, self.settings.bus.producer, __version__))

        configure_logging(self.settings.logging)
        asyncio.run(whole())


def mail_site(
    settings_file: Path | None,
    smtp: str,
    mail_to: str | None,
    mail_from: str | None,
    starttls: bool,
    ca_file: Path | None,
    mail_bytes: int,
) -> MailSite:
    """Out of flags and variables; raises SettingsError."""
    from tesp.ingress.mail_sender import Relay

    if mail_to is None:
        raise SettingsError("--smtp needs --mail-to: the address that the site takes messages at")
    sender = mail_from or f"{user_name()}@{platform.node()}"
    for flag, address in (("--mail-to", mail_to), ("--mail-from", sender)):
        _check_address(flag, address)
    server = _server(smtp, starttls, ca_file)
    return MailSite(Relay(server, mail_to, sender, mail_bytes), configured(settings_file))


def _server(text: str, starttls: bool, ca_file: Path | None) -> "MailServer":
    """`[USER@]HOST[:PORT]`, smtp://... or smtps://..."""
    from tesp.bus.mail_server import MailServer, Security, trusting
    from tesp.settings.notifications import PORTS
    from tesp.settings.urls import is_loopback

    parts = _parts(text)
    security: Security = "tls" if parts.scheme == "smtps" else "starttls" if starttls else "none"
    host, user = parts.hostname or "", unquote(parts.username) if parts.username else None
    if ca_file is not None and security == "none":
        raise SettingsError("--ca-file is of no use without TLS: add --starttls")
    if user and security == "none" and not is_loopback(host):
        raise SettingsError("--smtp: a password goes over TLS only: add --starttls, or say smtps:")
    return MailServer(
        host=host,
        port=parts.port or (PORTS["tls"] if security == "tls" else PORTS["none"]),
        security=security,
        username=user,
        password=os.environ.get(PASSWORD) if user else None,
        trust=None if security == "none" else trusting(ca_file),
        timeout_seconds=_TIMEOUT_SECONDS,
    )


def _parts(text: str) -> Any:
    try:
        parts = urlsplit(text if "://" in text else f"smtp://{text}")
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"--smtp: this is no HOST or HOST:PORT: {error}") from None
    if parts.password is not None:
        raise SettingsError(f"--smtp: others see what stands here; the password goes to {PASSWORD}")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/"):
        raise SettingsError("--smtp: this is no [USER@]HOST[:PORT], nor smtps://[USER@]HOST[:PORT]")
    return parts


def _check_address(flag: str, address: str) -> None:
    from tesp.settings.notifications import mail_address

    try:
        mail_address(address)
    except ValueError as error:
        raise SettingsError(f"{flag}: {error}") from None
