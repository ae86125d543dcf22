"""The broker that takes VOEvents from their authors, and the files that hold them."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from tesp.cli.bus.messages import told
from tesp.cli.bus.spools import end, spool_of
from tesp.cli.configuration import configured
from tesp.cli.terminal import note
from tesp.errors import MessageRefused, SettingsError

if TYPE_CHECKING:
    from tesp.bus import Message
    from tesp.bus.sender import Sender, Sent
    from tesp.settings import Settings

_PORT = 8098
_STANDARD_INPUT = "-"

Voevent = Annotated[
    list[str] | None,
    typer.Option("--voevent", metavar="FILE", help="An event as it is; again for more; - stdin."),
]
To = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="HOST[:PORT]", help=f"VOEvents go to this broker, over VTP; port {_PORT}."
    ),
]


@dataclass(frozen=True, slots=True)
class VtpSite:
    """The broker, and how to log."""

    host: str
    port: int
    settings: "Settings"

    def spool(self, directory: Path | None) -> Path:
        """Where events for this broker wait."""
        return directory or spool_of(f"vtp:{self.host}:{self.port}")

    def submit(self, messages: "Sequence[Message] | None", directory: Path | None) -> None:
        """Send events, or those that wait, and end the program where not all were taken."""
        import asyncio

        from tesp.bus.sender import Sender, Sent
        from tesp.bus.spool import Spool
        from tesp.ingress.event_sender import EventSender
        from tesp.logs import configure_logging

        configure_logging(self.settings.logging)
        outlet, spool = EventSender(self.host, self.port), self.spool(directory)
        # A broker refuses what it has had: each that waits is done with before the next goes.
        sender = Sender(outlet, Spool(spool), at_once=1)
        sent = asyncio.run(sender.flush() if messages is None else _each(sender, messages))
        for refusal in outlet.refusals:
            note(f"tesp: {refusal}")
        if sender.put_aside:
            note(f"tesp: what had waited and is refused is put aside, in {spool / 'refused'}")
        if sent is Sent.SPOOLED and outlet.trouble:
            note(f"tesp: {outlet.trouble}")
        end(sent, bool(outlet.refusals))


async def _each(sender: "Sender", messages: "Sequence[Message]") -> "Sent":
    """One that is refused stops no other."""
    from tesp.bus.sender import Sent

    for number, one in enumerate(messages, 1):
        with suppress(MessageRefused):
            if await sender.send([one]) is Sent.SPOOLED:
                await sender.keep(messages[number:])
                return Sent.SPOOLED
    return Sent.CONFIRMED


def vtp_site(settings_file: Path | None, to: str | None, others: Mapping[str, object]) -> VtpSite:
    """Out of flags; raises SettingsError, also where one of the others has a value."""
    if to is None:
        raise SettingsError("--voevent needs --to: the broker that takes it, HOST or HOST:PORT")
    for flag, value in others.items():
        if value:
            raise SettingsError(f"--to: a VOEvent goes as it is, over VTP: leave {flag} out")
    return VtpSite(*_address(to), configured(settings_file))


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"vtp://{text}")
        host, port = parts.hostname, _PORT if parts.port is None else parts.port
    except ValueError as error:
        raise SettingsError(f"--to: this is no HOST or HOST:PORT: {error}") from None
    if not host or port == 0 or parts.netloc != text or "@" in text:
        raise SettingsError(f"--to: {text!r} is no HOST or HOST:PORT")
    return host, port


def events(files: Sequence[str]) -> "list[Message]":
    """The events of these files; raises SettingsError and MessageRefused, which name the file."""
    return [_event(file) for file in files]


def _event(file: str) -> "Message":
    from tesp.bus import tael
    from tesp.ingress import attachments, event_sender

    raw = _read(file, tael.MOST_BYTES)
    try:
        message = event_sender.holding(told("voevent", {}), attachments.plain_name(file), raw)
        tael.encode(message)
    except MessageRefused as error:
        raise MessageRefused(f"--voevent: {file}: {error}") from error
    return message


def _read(file: str, most: int) -> bytes:
    try:
        if file == _STANDARD_INPUT:
            raw = sys.stdin.buffer.read(most + 1)
        else:
            with Path(file).open("rb") as opened:
                raw = opened.read(most + 1)
    except OSError as error:
        raise SettingsError(f"--voevent: {file}: {error.strerror}") from None
    if len(raw) > most:
        raise SettingsError(f"--voevent: {file}: an event has {most} bytes at most")
    return raw
