"""What comes in beside the brokers: mails, alerts of telescopes, webhooks."""

import ipaddress
import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings.section import Distinct, Section

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
_TOPIC = r"^[^+#\x00-\x1f]{1,255}$"
_IVO = r"^ivo://[A-Za-z0-9][\w.~*'()-]{2,}(/[\w.~*'()/-]*)?$"
# Where nobody else can be.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0/0", "::/0")


class MailUser(Section):
    """Who may log in, to send mails."""

    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)


class SmtpSettings(Section):
    """Mails in Prodiguer's format. Who has logged in is trusted, nobody else."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: int = Field(2525, ge=0, le=65535)
    hostname: str | None = Field(None, description="How it greets; default: the machine's name")
    certificate: Path | None = Field(None, description="PEM of key and chain: offers STARTTLS")
    require_tls: bool = False
    users: tuple[MailUser, ...] = Field((), description="With users, nobody else may send")
    allow_anonymous: bool = Field(False, description="With users, others may send too, untrusted")
    excluded_types: tuple[str, ...] = Field((), description="Type codes that are dropped")
    most_mail_bytes: int = Field(10_000_000, ge=1000, le=100_000_000)
    connections: int = Field(64, ge=1, description="At once")
    remember_days: float = Field(30.0, gt=0, description="A message that comes again is known")

    @field_validator("excluded_types")
    @classmethod
    def _are_codes(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for one in types:
            if not re.fullmatch(r"\d{4}", one, re.ASCII):
                raise ValueError(f"{one!r} is no type code of four digits")
        return types

    @model_validator(mode="after")
    def _is_protected_as_it_says(self) -> "SmtpSettings":
        if self.require_tls and not self.certificate:
            raise ValueError("require_tls needs a certificate")
        if self.users and not self.certificate and self.host not in _LOOPBACK:
            raise ValueError("passwords beyond loopback need a certificate")
        return self


class RemoteBroker(Section):
    """A VOEvent broker to subscribe to."""

    host: str
    port: int = Field(8099, ge=1, le=65535)
    filters: tuple[str, ...] = Field((), description="XPath; the broker sends what fits one")
    trusted: bool = False


class VoeventSettings(Section):
    """VOEvents over VTP."""

    local_ivo: str = Field("ivo://org.tesp/local", pattern=_IVO, description="Who we are")
    receive: bool = Field(False, description="Take what authors submit")
    host: str = "127.0.0.1"
    receive_port: int = Field(8098, ge=0, le=65535)
    authors: tuple[str, ...] = Field(_EVERYWHERE, description="Networks that may submit")
    remotes: tuple[RemoteBroker, ...] = Field((), description="Brokers to subscribe to")
    broadcast: bool = Field(False, description="Let others subscribe to what comes in")
    broadcast_port: int = Field(8099, ge=0, le=65535)
    subscribers: tuple[str, ...] = Field(_EVERYWHERE, description="Networks that may subscribe")
    directory: Path | None = Field(None, description="Where each event is saved as a file")
    most_event_bytes: int = Field(400_000, ge=1000, le=10_000_000)
    connections: int = Field(64, ge=1, description="At once")
    remember_days: float = Field(30.0, gt=0, description="An event that comes again is known")

    @field_validator("authors", "subscribers")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ipaddress.ip_network(network)
        return networks


class WebhookSettings(Section):
    """POST /ingress/webhook/{name}: a flat JSON object becomes a message."""

    name: str = Field(pattern=_NAME)
    topic: str = Field(pattern=_TOPIC)
    secret: SecretStr | None = Field(
        None, min_length=16, description="Signs; without it, nobody is trusted"
    )


class IngressSettings(Section):
    """What comes in beside the brokers."""

    smtp: SmtpSettings = SmtpSettings()
    voevent: VoeventSettings = VoeventSettings()
    webhooks: Distinct[WebhookSettings] = ()
