"""Notifications: who gets a mail or an SMS about which tasks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings.quantities import Port, Seconds
from tesp.settings.section import Distinct, Section
from tesp.settings.selection import Selection, Tagged
from tesp.settings.urls import Host, hook_url, is_loopback
from tesp.tes.states import ENDED_BADLY, State

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
)
_NUMBER = re.compile(r"\+?[0-9]{3,15}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
PORTS = {"none": 25, "starttls": 587, "tls": 465}
TO, TEXT = "{to}", "{text}"
_MOST = 1_000_000


def mail_address(address: str) -> str:
    """An address such as ops@site.example; nothing else can be in a header of a mail."""
    if not _ADDRESS.fullmatch(address):
        raise ValueError("this is no address such as ops@site.example")
    return address


class MailSettings(Section):
    """The server that takes the mails, and who they are from."""

    host: Host
    port: Port | None = Field(None, description="Default: 587, 465 or 25")
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="tls: from the beginning"
    )
    username: str | None = None
    password: SecretStr | None = None
    sender: str = Field(description="The address that the mails come from")
    ca_file: Path | None = Field(None, description="Whom to trust, instead of the system's")
    timeout_seconds: Seconds = Field(30.0, description="Of each of the server's answers")

    @field_validator("sender")
    @classmethod
    def _is_an_address(cls, sender: str) -> str:
        return mail_address(sender)

    @model_validator(mode="after")
    def _is_protected_as_it_says(self) -> "MailSettings":
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password go together")
        if self.security == "none" and self.password and not is_loopback(self.host):
            raise ValueError("a password goes over TLS only: say security = starttls, or tls")
        if self.security == "none" and self.ca_file:
            raise ValueError("ca_file is of no use without TLS")
        return self

    @property
    def reached_port(self) -> int:
        """The port; where none is set, the usual one."""
        return self.port or PORTS[self.security]


class SmsSettings(Section):
    """The HTTP gateway that sends what is posted to it to a number."""

    url: str
    format: Literal["json", "form"] = "json"
    body: dict[str, Any] = Field(
        {"to": TO, "text": TEXT}, description="{to} and {text} are filled in", min_length=1
    )
    headers: dict[str, SecretStr] = Field({}, description="Such as Authorization")
    timeout_seconds: Seconds = 30.0

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return hook_url(url)

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            said = value.get_secret_value()
            if not _HEADER.fullmatch(name) or not (said.isascii() and said.isprintable()):
                raise ValueError("a header is a word and printable ASCII signs")
        return headers

    @model_validator(mode="after")
    def _says_to_whom_and_what(self) -> "SmsSettings":
        texts = list(_texts(self.body))
        for sign in (TO, TEXT):
            if not any(sign in text for text in texts):
                raise ValueError(f"body: {sign} is missing")
        if self.format == "form" and not all(isinstance(v, str) for v in self.body.values()):
            raise ValueError("body: the values of a form are texts")
        return self

    @property
    def host(self) -> str:
        """The gateway's host."""
        return urlsplit(self.url).hostname or ""


def _texts(value: Any) -> Iterator[str]:
    """All texts of a body, at every depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


class RuleSettings(Selection, Tagged):
    """Who hears of which tasks."""

    name: str = Field(pattern=_NAME)
    states: tuple[State, ...] = Field(ENDED_BADLY, description="none: every change of state")
    email: tuple[str, ...] = Field((), description="Addresses")
    sms: tuple[str, ...] = Field((), description="Numbers, such as +420123456789")
    most: int = Field(
        10, ge=1, le=_MOST, description="To each, in window_seconds; the rest is summed up"
    )
    window_seconds: Seconds = 3600.0

    @field_validator("email")
    @classmethod
    def _are_addresses(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(mail_address(one) for one in addresses))

    @field_validator("sms")
    @classmethod
    def _are_numbers(cls, numbers: tuple[str, ...]) -> tuple[str, ...]:
        plain = [re.sub(r"[ ()./-]", "", number) for number in numbers]
        for number in plain:
            if not _NUMBER.fullmatch(number):
                raise ValueError("this is no number such as +420123456789")
        return tuple(dict.fromkeys(plain))

    @model_validator(mode="after")
    def _goes_somewhere(self) -> "RuleSettings":
        if not self.email and not self.sms:
            raise ValueError("a rule needs email or sms: the addresses or numbers")
        return self


class NotificationSettings(Section):
    """The ways to people, and the rules by which they are taken."""

    mail: MailSettings | None = None
    sms: SmsSettings | None = None
    rules: Distinct[RuleSettings] = ()

    @model_validator(mode="after")
    def _can_be_kept(self) -> "NotificationSettings":
        for rule in self.rules:
            if rule.email and self.mail is None:
                raise ValueError(f"the rule {rule.name} has email: set notifications.mail")
            if rule.sms and self.sms is None:
                raise ValueError(f"the rule {rule.name} has sms: set notifications.sms")
        return self
