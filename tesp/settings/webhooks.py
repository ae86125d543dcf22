"""Webhooks: the URLs that hear of tasks."""

import re

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings.quantities import Patience, Seconds
from tesp.settings.section import Distinct, Section
from tesp.settings.selection import Selection
from tesp.settings.urls import hook_url

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")
_SHORTEST_SECRET = 16


def _long_enough(secret: SecretStr | None) -> SecretStr | None:
    if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
        raise ValueError(f"a secret has {_SHORTEST_SECRET} signs or more: openssl rand -hex 32")
    return secret


class TargetSettings(Selection):
    """A URL that hears of all tasks, or of some."""

    name: str = Field(pattern=_NAME)
    url: str
    secret: SecretStr
    timeout_seconds: Seconds = 10.0

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return hook_url(url)

    @field_validator("secret")
    @classmethod
    def _cannot_be_guessed(cls, secret: SecretStr) -> SecretStr | None:
        return _long_enough(secret)


class HookSettings(Section):
    """The site's own targets, and the hosts that a task may have called."""

    targets: Distinct[TargetSettings] = ()
    callback_hosts: tuple[str, ...] = Field(
        (), description="Names, or *.example.org; private addresses only by their very name"
    )
    callback_secret: SecretStr | None = Field(None, description="Signs all callbacks")
    callback_seconds: Patience = Field(86400.0, description="After that a callback is given up")
    callback_timeout_seconds: Seconds = 10.0

    @field_validator("callback_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        lower = tuple(host.lower().strip("[]").rstrip(".") for host in hosts)
        for host in lower:
            if not _HOST.fullmatch(host):
                raise ValueError("a host is a name such as hooks.example.org or *.example.org")
        return lower

    @field_validator("callback_secret")
    @classmethod
    def _cannot_be_guessed(cls, secret: SecretStr | None) -> SecretStr | None:
        return _long_enough(secret)

    @model_validator(mode="after")
    def _are_signed(self) -> "HookSettings":
        if self.callback_hosts and self.callback_secret is None:
            raise ValueError(
                "callback_hosts needs callback_secret: receivers check by it who calls"
            )
        return self
