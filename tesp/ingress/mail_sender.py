"""Mails out: messages in batches to the relay of a computing centre."""

import asyncio
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage

from tesp.bus import Message
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.ingress import mail_writing
from tesp.ingress.mail import Attachment

_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mails go, and from whom. With `tls`, not without STARTTLS."""

    host: str
    recipient: str
    sender: str
    port: int = 25
    username: str | None = None
    password: str | None = None
    tls: ssl.SSLContext | None = None
    most_bytes: int = 5_000_000


class MailSender:
    """Sends messages in Prodiguer's mail format."""

    def __init__(
        self,
        relay: Relay,
        producer: str = "tesp",
        version: str = "1",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._relay = relay
        self._producer = producer
        self._version = version
        self._clock = clock

    async def send(
        self, messages: Sequence[Message], attachments: Sequence[Attachment] = ()
    ) -> None:
        """Send in this order; returns when the relay has taken all of them.

        Raises BusUnavailable where trying again may help, BusRefused where it never will, and
        MessageRefused for what is no message; some may have been sent: send all of them again.
        """
        if attachments and not all(map(mail_writing.takes_attachments, messages)):
            raise MessageRefused("attachments go with messages of type 0000, 7010 or 7100")
        lines = [mail_writing.line(one, self._producer, self._version) for one in messages]
        relay = self._relay
        mails = [
            mail_writing.mail(batch, relay.sender, relay.recipient, self._clock(), attachments)
            for batch in mail_writing.batches(lines, relay.most_bytes)
        ]
        await asyncio.to_thread(self._send, mails)

    def _send(self, mails: Sequence[EmailMessage]) -> None:
        where = f"The mail server {self._relay.host}:{self._relay.port}"
        try:
            self._talk(mails)
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _failure(where, code, said) from error
        except smtplib.SMTPResponseException as error:
            raise _failure(where, error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise BusRefused(f"{where} does not do what was asked: {error}") from error
        except ssl.SSLCertVerificationError as error:
            raise BusRefused(f"{where} shows a certificate that is not trusted: {error}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise BusUnavailable(f"{where} cannot be reached: {error}") from error

    def _talk(self, mails: Sequence[EmailMessage]) -> None:
        relay = self._relay
        with smtplib.SMTP(relay.host, relay.port, timeout=_TIMEOUT_SECONDS) as server:
            if relay.tls is not None:
                server.starttls(context=relay.tls)
            if relay.username is not None:
                server.login(relay.username, relay.password or "")
            for mail in mails:
                server.send_message(mail, relay.sender, [relay.recipient])


def _failure(where: str, code: int, said: bytes | str) -> BusUnavailable | BusRefused:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    sentence = f"{where} said {code}: {text}"
    return BusUnavailable(sentence) if code < 500 else BusRefused(sentence)
