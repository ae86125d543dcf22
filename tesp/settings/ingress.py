"""What comes in beside the brokers: mails, alerts of telescopes, webhooks."""

import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from tesp.settings.quantities import OwnPort, Patience, Port
from tesp.settings.section import Distinct, Section
from tesp.settings.urls import Host

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
_TOPIC = r"^[^+#\x00-\x1f]{1,255}$"
_IVO = r"^ivo://[A-Za-z0-9][\w.~*'()-]{2,}(/[\w.~*'()/-]*)?$"
# Where nobody else can be.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0/0", "::/0")


def _networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        ipaddress.ip_network(network)
    return networks


Networks = Annotated[tuple[str, ...], AfterValidator(_networks)]


class MailUser(Section):
    """Who may log in, to send mails."""

    username: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1)


class SmtpSettings(Section):
    """Mails in Prodiguer's format. Trusted is who has logged in, or comes from a trusted network,
    nobody else."""

    enabled: bool = False
    host: Host = "127.0.0.1"
    port: OwnPort = 2525
    hostname: str | None = Field(None, description="How it greets; default: the machine's name")
    certificate: Path | None = Field(None, description="PEM of key and chain: offers STARTTLS")
    require_tls: bool = False
    users: tuple[MailUser, ...] = Field((), description="With users, nobody else may send")
    allow_anonymous: bool = Field(False, description="With users, others may send too, untrusted")
    trusted_networks: Networks = Field(
        (), description="Networks whose senders are trusted, and need not log in: a relay of yours"
    )
    excluded_types: tuple[str, ...] = Field((), description="Type codes that are dropped")
    most_mail_bytes: int = Field(10_000_000, ge=1000, le=100_000_000)
    connections: int = Field(64, ge=1, description="At once")
    remember_days: Patience = Field(30.0, description="A message that comes again is known")

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

    host: Host
    port: Port = 8099
    filters: tuple[str, ...] = Field((), description="XPath; the broker sends what fits one")
    trusted: bool = False


class VoeventSettings(Section):
    """VOEvents over VTP."""

    local_ivo: str = Field("ivo://org.tesp/local", pattern=_IVO, description="Who we are")
    receive: bool = Field(False, description="Take what authors submit")
    host: Host = "127.0.0.1"
    receive_port: OwnPort = 8098
    authors: Networks = Field(_EVERYWHERE, description="Networks that may submit")
    trusted_networks: Networks = Field((), description="Networks whose authors are trusted")
    remotes: tuple[RemoteBroker, ...] = Field((), description="Brokers to subscribe to")
    broadcast: bool = Field(False, description="Let others subscribe to what comes in")
    broadcast_port: OwnPort = 8099
    subscribers: Networks = Field(_EVERYWHERE, description="Networks that may subscribe")
    directory: Path | None = Field(None, description="Where each event is saved as a file")
    most_event_bytes: int = Field(400_000, ge=1000, le=10_000_000)
    connections: int = Field(64, ge=1, description="At once")
    remember_days: Patience = Field(30.0, description="An event that comes again is known")

    @property
    def is_open(self) -> bool:
        """Whether events can come in, or go on to others."""
        return self.receive or self.broadcast or bool(self.remotes)


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

    @property
    def is_open(self) -> bool:
        """Whether anything can come in."""
        return self.smtp.enabled or self.voevent.is_open or bool(self.webhooks)

    @property
    def unvouched(self) -> Sequence[str]:
        """The ways in by which nobody comes whom we trust: no broker gets what they bring."""
        smtp, voevent = self.smtp, self.voevent
        ways = {
            "ingress.smtp": smtp.enabled and not (smtp.users or smtp.trusted_networks),
            "ingress.voevent.receive": voevent.receive and not voevent.trusted_networks,
            **{
                f"ingress.voevent.remotes.{number}": not remote.trusted
                for number, remote in enumerate(voevent.remotes)
            },
            **{f"ingress.webhooks.{hook.name}": hook.secret is None for hook in self.webhooks},
        }
        return [way for way, is_so in ways.items() if is_so]
