"""The mail server that takes our mails: SMTP, plain, with STARTTLS, or TLS from the beginning."""

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Literal, Self

from tesp.errors import (
    BusRefused,
    BusUnavailable,
    MessageRefused,
    RecipientRefused,
    SettingsError,
)
from tesp.settings import MailSettings

Security = Literal["none", "starttls", "tls"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where it is and how it is entered. Its methods block, for as long as the server takes.

    They raise BusUnavailable (try again), BusRefused (we are refused, with its words),
    RecipientRefused, and MessageRefused where it will never take this one mail.
    """

    host: str
    port: int = 25
    security: Security = "none"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    trust: ssl.SSLContext | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0

    @classmethod
    def of(cls, settings: MailSettings) -> Self:
        """The one of the settings; raises SettingsError where its ca_file is none."""
        return cls(
            settings.host,
            settings.reached_port,
            settings.security,
            settings.username,
            settings.password.get_secret_value() if settings.password else None,
            trusting(settings.ca_file) if settings.security != "none" else None,
            settings.timeout_seconds,
        )

    def send(self, mails: Sequence[EmailMessage], sender: str, recipient: str) -> None:
        """Send mails in this order; returns when the server has taken all of them."""
        with self._translated(), self._entered() as server:
            for mail in mails:
                server.send_message(mail, sender, [recipient])

    def look(self) -> None:
        """Go in, as if to send something, and out again."""
        with self._translated(), self._entered() as server:
            _expect(server.noop())

    @contextmanager
    def _entered(self) -> Iterator[smtplib.SMTP]:
        server = self._connected()
        try:
            if self.security == "starttls":
                server.starttls(context=self.trust)
            if self.username is not None:
                server.login(self.username, self.password or "")
            yield server
            # What it has taken it keeps, however it says goodbye.
            with suppress(smtplib.SMTPException, OSError):
                server.quit()
        finally:
            server.close()

    def _connected(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_seconds, context=self.trust
            )
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout_seconds)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        where = f"The mail server {self.host}:{self.port}"
        try:
            yield
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _failure(where, code, said, RecipientRefused) from error
        except smtplib.SMTPDataError as error:
            raise _failure(where, error.smtp_code, error.smtp_error, MessageRefused) from error
        except smtplib.SMTPResponseException as error:
            raise _failure(where, error.smtp_code, error.smtp_error, BusRefused) from error
        except smtplib.SMTPNotSupportedError as error:
            raise BusRefused(f"{where} does not do what was asked: {error}") from error
        except ssl.SSLCertVerificationError as error:
            raise BusRefused(f"{where} shows a certificate that is not trusted: {error}") from error
        except (smtplib.SMTPException, OSError) as error:
            raise BusUnavailable(f"{where} cannot be reached: {error}") from error


def trusting(ca_file: Path | None) -> ssl.SSLContext:
    """Whom to trust: those of the file, or else of the system; raises SettingsError."""
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"ca_file: {ca_file} is no PEM of certificates: {error}") from error


def _expect(answer: tuple[int, bytes]) -> None:
    code, said = answer
    if code >= 400:
        raise smtplib.SMTPResponseException(code, said)


def _failure(
    where: str, code: int, said: bytes | str, never: type[BusRefused]
) -> BusUnavailable | BusRefused:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    sentence = f"{where} said {code}: {' '.join(text.split())}"
    return BusUnavailable(sentence) if code < 500 else never(sentence)
