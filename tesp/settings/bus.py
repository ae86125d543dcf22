"""The bus: how topics and keys begin, and the brokers."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from tesp.settings import urls
from tesp.settings.section import Distinct, Section, told_apart

# One word of a routing key.
_WORD = r"^[a-z0-9_-]{1,32}$"
_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$"
# One or more levels of a topic, neither a wildcard nor a dot in them.
_PREFIX = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"
PORTS = {"mqtt": 1883, "mqtts": 8883, "amqp": 5672, "amqps": 5671}


class BrokerSettings(Section):
    """One broker that all events go to."""

    name: str = Field(pattern=_NAME)
    url: str
    username: str | None = None
    password: SecretStr | None = None
    client_id: str | None = Field(
        None,
        pattern=_NAME,
        description="The broker keeps, under this name, what comes while nobody listens",
    )
    exchange: str = Field("x-primary", pattern=r"^[A-Za-z0-9_.:-]{1,127}$", description="AMQP's")
    version: Literal["3.1.1", "5"] = Field("3.1.1", description="MQTT's")
    ca_file: Path | None = Field(None, description="Whom to trust, instead of the system's")
    trusted: bool = Field(
        False, description="Its permissions let nobody publish where he may not: all is trusted"
    )

    queues: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = Field(
        (), description="AMQP: queues of others, whose depth and consumers are shown too"
    )

    @field_validator("url")
    @classmethod
    def _is_a_broker(cls, url: str) -> str:
        return urls.broker_url(url)

    @model_validator(mode="after")
    def _is_protected_as_it_says(self) -> "BrokerSettings":
        if self.password and not self.username:
            raise ValueError("a password needs a username")
        if self.ca_file and not self.is_encrypted:
            raise ValueError("ca_file is of no use without TLS: say mqtts:// or amqps://")
        if self.queues and self.scheme.startswith("mqtt"):
            raise ValueError("queues are of no use over MQTT: only AMQP can be asked for them")
        return self

    @property
    def scheme(self) -> str:
        """mqtt, mqtts, amqp or amqps."""
        return urlsplit(self.url).scheme

    @property
    def is_encrypted(self) -> bool:
        """Whether it is reached over TLS."""
        return self.scheme in ("mqtts", "amqps")

    @property
    def host(self) -> str:
        """The broker's host."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The broker's port; where the URL has none, that of its scheme."""
        return urlsplit(self.url).port or PORTS[self.scheme]

    @property
    def secret(self) -> str | None:
        """The password as it is."""
        return self.password.get_secret_value() if self.password else None


class BusSettings(Section):
    """How messages are called, and where they go."""

    prefix: str = Field("tesp", pattern=_PREFIX, max_length=64, description="Of all topics")
    mode: str = Field("prod", pattern=_WORD, description="First word of routing keys")
    user: str = Field("tesp", pattern=_WORD, description="Second word")
    producer: str = Field("tesp", pattern=_WORD, description="Third word")
    app: Literal["internal", "monitoring", "metrics", "superviseur"] = Field(
        "monitoring", description="Fourth word, and app_id"
    )
    brokers: Distinct[BrokerSettings] = ()

    @field_validator("brokers")
    @classmethod
    def _leave_each_other_in(
        cls, brokers: tuple[BrokerSettings, ...]
    ) -> tuple[BrokerSettings, ...]:
        """An MQTT broker ends the session of who comes with the client id of another."""
        mqtt = [b for b in brokers if b.client_id and b.scheme.startswith("mqtt")]
        told_apart(tuple(mqtt), lambda b: f"the client {b.client_id} at {b.host}:{b.port}")
        return brokers
