"""The broker that a command speaks with."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from tesp.cli.bus.spools import sender_to, spool_of
from tesp.cli.configuration import configured
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Bus, Outlet
    from tesp.bus.sender import Sender
    from tesp.settings import BrokerSettings, Settings

PASSWORD = "TESP_BUS_PASSWORD"
_TAELS_OWN = "localhost"

Host = Annotated[
    str | None,
    typer.Option(
        "--host",
        metavar="URL",
        help="Broker: mqtt://user@host:1883, mqtts:, amqp:, amqps: or a bare name. Its password "
        f"is {PASSWORD}. Default: that of the settings, else localhost.",
    ),
]
BrokerName = Annotated[
    str | None, typer.Option("--broker", metavar="NAME", help="Broker of the settings.")
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", metavar="FILE", help="Whom to trust with TLS.")
]
Prefix = Annotated[
    str | None,
    typer.Option("--mqtt-env", "--prefix", metavar="PREFIX", help="Of all topics, such as COGUK."),
]


@dataclass(frozen=True, slots=True)
class Site:
    """The broker, the prefix of topics there, and how to log."""

    broker: "BrokerSettings"
    prefix: str
    settings: "Settings"

    @property
    def control_secret(self) -> str | None:
        """What orders to pipelines have to say, where the settings say so."""
        secret = self.settings.control.secret
        return secret.get_secret_value() if secret else None

    def spool(self, directory: Path | None) -> Path:
        """Where messages for this broker wait."""
        place = f"{self.broker.username or ''}@{self.broker.host}:{self.broker.port}"
        return directory or spool_of(place)

    def sender(self, outlet: "Outlet", directory: Path | None) -> "Sender":
        """A sender whose messages are not lost where the broker is away."""
        return sender_to(outlet, self.spool(directory))

    def run(self, work: "Callable[[Bus], Awaitable[None]]") -> None:
        """Do something with the bus, and let go of it."""
        import asyncio

        from tesp.bus import brokers
        from tesp.logs import configure_logging

        async def whole() -> None:
            bus = brokers.one(self.broker)
            try:
                await work(bus)
            finally:
                await bus.close()

        configure_logging(self.settings.logging)
        asyncio.run(whole())


def site(
    settings_file: Path | None,
    host: str | None,
    broker: str | None = None,
    ca_file: Path | None = None,
    prefix: str | None = None,
    client_id: str | None = None,
    data: Path | None = None,
) -> Site:
    """Out of flags, variables and settings; raises SettingsError."""
    settings = configured(settings_file, data)
    chosen = _of_url(host or _TAELS_OWN) if host else _of_settings(settings, broker)
    changes = {"ca_file": ca_file, "client_id": client_id, **_password(chosen)}
    changed = {**chosen.model_dump(), **{k: v for k, v in changes.items() if v is not None}}
    own = settings.bus.model_dump() | ({"prefix": prefix} if prefix is not None else {})
    return Site(_checked_broker(changed), _checked_prefix(own), settings)


def _of_settings(settings: "Settings", name: str | None) -> "BrokerSettings":
    brokers = {broker.name: broker for broker in settings.bus.brokers}
    if name is not None and name not in brokers:
        there = ", ".join(brokers) or "none"
        raise SettingsError(f"--broker: the settings have no broker {name}; there are: {there}")
    if name is not None:
        return brokers[name]
    return next(iter(brokers.values()), None) or _of_url(_TAELS_OWN)


def _of_url(text: str) -> "BrokerSettings":
    """`mqtt://user@host:1883`, or a bare host as Tael's own programs have it."""
    try:
        parts = urlsplit(text if "://" in text else f"mqtt://{text}")
        port = f":{parts.port}" if parts.port else ""
    except ValueError as error:
        raise SettingsError(f"--host: this is no URL of a broker: {error}") from None
    if parts.password is not None:
        raise SettingsError(f"--host: others see what stands here; the password goes to {PASSWORD}")
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    url = f"{parts.scheme}://{name}{port}{parts.path}"
    user = unquote(parts.username) if parts.username else None
    return _checked_broker({"name": "broker", "url": url, "username": user})


def _password(broker: "BrokerSettings") -> dict[str, str]:
    """Without a user's name it is of no use, and may be meant for another broker."""
    password = os.environ.get(PASSWORD)
    return {"password": password} if password and broker.username else {}


def _checked_broker(fields: dict[str, object]) -> "BrokerSettings":
    from pydantic import ValidationError

    from tesp.settings import BrokerSettings

    try:
        return BrokerSettings.model_validate(fields)
    except ValidationError as error:
        raise SettingsError(f"The broker: {_sentence(error.errors())}") from None


def _checked_prefix(fields: dict[str, object]) -> str:
    from pydantic import ValidationError

    from tesp.settings import BusSettings

    try:
        return BusSettings.model_validate(fields).prefix
    except ValidationError:
        raise SettingsError(
            "--mqtt-env: letters, digits, - and _; several levels with / between them"
        ) from None


def _sentence(errors: object) -> str:
    said = [
        f"{'.'.join(map(str, one['loc']))}: {one['msg']}" if one["loc"] else str(one["msg"])
        for one in errors  # type: ignore[attr-defined]
    ]
    return "; ".join(said).replace("Value error, ", "")
