"""The service itself: where it listens, who may use it, what it keeps, how it works and logs."""

import platform
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from tesp.settings import urls
from tesp.settings.quantities import CENTURY_DAYS, CENTURY_SECONDS, OwnPort, Patience
from tesp.settings.section import Section

# Each waits twice as long as the one before it, and a float holds no more doublings.
_MOST_RETRIES = 1000
_NOT_IN_A_DATABASE = frozenset(' ."$/\\\0')
_LONGEST_DATABASE = 63


class ServerSettings(Section):
    """Where the API listens, and what it says of itself."""

    host: urls.Host = "127.0.0.1"
    port: OwnPort = 8000
    allow_open: bool = Field(
        False, description="Listen beyond loopback although requests are not authenticated"
    )
    certificate: Path | None = Field(None, description="PEM file: answer https, and only that")
    certificate_key: Path | None = Field(None, description="Where it is not in the same file")
    service_id: str = "org.tesp.local"
    name: str = "tesp"
    organization_name: str = "tesp"
    organization_url: str = "https://tesp.example"
    legacy_states: bool = Field(
        True, description="On /v1 show CANCELING as RUNNING and PREEMPTED as SYSTEM_ERROR"
    )
    contact_url: str | None = Field(None, description="A mailto: or https: URL for service-info")
    documentation_url: str | None = None
    environment: str | None = Field(None, description="Such as `production`, for service-info")
    public_url: str | None = Field(
        None, description="Where Pulsars and nodes reach this API; default: its own"
    )
    cors_origins: tuple[urls.Origin, ...] = Field(
        (), description='Origins whose web pages may call the API; "*" for all'
    )

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        return url and urls.http_url(url)

    @model_validator(mode="after")
    def _has_what_its_key_is_for(self) -> "ServerSettings":
        if self.certificate_key and not self.certificate:
            raise ValueError("certificate_key needs certificate")
        return self

    @property
    def scheme(self) -> str:
        """https where there is a certificate, else http."""
        return "https" if self.certificate else "http"

    def reachable_url(self) -> str:
        """Where Pulsars and nodes reach this API; never with a slash at its end."""
        if self.public_url:
            return self.public_url
        host = self.host.strip("[]")
        if host in ("", "0.0.0.0", "::"):
            host = platform.node()
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


class BasicAuthSettings(Section):
    """User names and passwords. Nothing checks them yet, so that they cannot be asked for."""

    enable: bool = False
    username: str | None = None
    password: SecretStr | None = None

    @field_validator("enable")
    @classmethod
    def _is_kept(cls, enable: bool) -> bool:
        return _not_built(enable, "user names and passwords")


class OauthSettings(Section):
    """Bearer tokens. Nothing checks them yet, so that they cannot be asked for."""

    enable: bool = False

    @field_validator("enable")
    @classmethod
    def _is_kept(cls, enable: bool) -> bool:
        return _not_built(enable, "bearer tokens")


def _not_built(enable: bool, what: str) -> bool:
    """A protection that is asked for and not there must never look like one that is."""
    if enable:
        raise ValueError(
            f"this version does not check {what}, and would leave the door open. Set it to "
            "false, and listen on 127.0.0.1 behind a proxy that asks who is there"
        )
    return enable


def _mongodb_uri(uri: SecretStr) -> SecretStr:
    if not uri.get_secret_value().startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("this is no URI such as mongodb://127.0.0.1:27017, or mongodb+srv:")
    return uri


MongodbUri = Annotated[SecretStr, AfterValidator(_mongodb_uri)]


class StoreSettings(Section):
    """Where tasks are kept: `sqlite` under data_dir, or `mongodb` at mongodb_uri."""

    kind: Literal["sqlite", "mongodb"] = "sqlite"
    mongodb_uri: MongodbUri = SecretStr("mongodb://127.0.0.1:27017")
    database: str = Field("tesp", min_length=1)

    @field_validator("database")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if _NOT_IN_A_DATABASE.intersection(name) or len(name.encode()) > _LONGEST_DATABASE:
            raise ValueError(
                f"a database has a name of {_LONGEST_DATABASE} bytes or less, without space, "
                '. " $ / and \\'
            )
        return name


class DispatchSettings(Section):
    """How the dispatcher takes and keeps tasks."""

    # One that is shorter runs out while it is renewed.
    lease_seconds: float = Field(30.0, ge=0.1, le=CENTURY_SECONDS)
    max_retries: int = Field(
        10,
        ge=0,
        le=_MOST_RETRIES,
        description="The most that backend_parameters.max_retries may ask",
    )
    retry_delay_seconds: float = Field(1.0, ge=0, le=CENTURY_SECONDS)
    transfers: int = Field(4, ge=1, description="Transfers at once, over all tasks")
    keep_events_days: float = Field(
        90.0,
        gt=0,
        le=CENTURY_DAYS,
        description="Events stay readable so long, and until every sink has them",
    )
    abandon_seconds: Patience = Field(
        86400.0, description="Attempts on a backend that nobody serves end after that"
    )


class LoggingSettings(Section):
    """What goes to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    output_json: bool = False

    @field_validator("level", mode="before")
    @classmethod
    def _in_capitals(cls, level: Any) -> Any:
        if not isinstance(level, str):
            return level
        return {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level.upper(), level.upper())
