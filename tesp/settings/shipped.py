"""The agents that come with tesp: what they look after, each in a section of its own."""

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from tesp.settings.quantities import CENTURY_SECONDS, Patience, Port, Seconds
from tesp.settings.section import Distinct, Section
from tesp.settings.selection import Tagged
from tesp.settings.triggers import FILTER
from tesp.settings.urls import http_url

_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
_COLLECTION = r"^[A-Za-z0-9_.-]{1,64}:[A-Za-z0-9_.-]{1,64}$"
_LONGEST_TOPIC = 1024
# The pauses between them double, and a float holds no more doublings.
_MOST_TRIES = 1000
_SCHEMES = ("file", "s3", "ftp", "ftps", "http", "https")


class LimitSettings(Section):
    """What a node may come to before an alert is raised; what is not set is not watched."""

    cpu_percent: float | None = Field(None, gt=0, le=100)
    load_per_cpu: float | None = Field(None, gt=0, description="Of the last five minutes")
    memory_percent: float | None = Field(None, gt=0, le=100)
    swap_percent: float | None = Field(None, gt=0, le=100)
    disk_percent: float | None = Field(90.0, gt=0, le=100, description="Of each path")


class MetricsSettings(Section):
    """`tesp agent metrics`: what is measured on a node, and what the collector makes of it."""

    interval_seconds: float = Field(
        30.0, ge=0.1, le=CENTURY_SECONDS, description="Between two samples of a node"
    )
    paths: tuple[Path, ...] = Field((Path("/"),), description="Whose disks are measured")
    host: str | None = Field(None, pattern=_NAME, description="Default: the machine's name")
    port: Port = Field(8011, description="The collector's, on 127.0.0.1")
    keep_days: Patience = Field(30.0, description="Samples are kept so long")
    silent_seconds: Patience = Field(120.0, description="Without a sample for so long: an alert")
    late_seconds: Patience | None = Field(
        None, description="A task that runs longer is told of once"
    )
    store: Path | None = Field(None, description="The collector's file; default: below data_dir")
    limits: LimitSettings = LimitSettings()


class PublishingRule(Tagged):
    """Which outputs of finished tasks are published, and where."""

    name: str = Field(pattern=_NAME)
    name_prefix: str = Field("", description="Of tasks whose name begins so")
    outputs: str = Field("*", min_length=1, description="Container paths; * is any text")
    to: str = Field(description="The directory's URL, below which each task has its own")

    @field_validator("to")
    @classmethod
    def _is_a_place(cls, to: str) -> str:
        parts = urlsplit(to)
        if parts.scheme not in _SCHEMES or not (parts.netloc or parts.path.strip("/")):
            raise ValueError("this is no URL such as s3://bucket/published or file:///srv/data")
        if parts.username is not None or parts.password is not None:
            raise ValueError("credentials do not belong into the URL: they stand in staging")
        if parts.query or parts.fragment:
            raise ValueError("this URL must end with its path: no ? and no #")
        return to.rstrip("/")


class PublisherSettings(Section):
    """`tesp agent publisher`: outputs of finished tasks go to where others find them."""

    url: str = Field("http://127.0.0.1:8000", description="Of the task service")
    token: SecretStr | None = Field(None, description="Bearer token for it")
    rules: Distinct[PublishingRule] = ()
    tries: int = Field(
        6, ge=1, le=_MOST_TRIES, description="Of one task, before it is told that it failed"
    )
    retry_seconds: Seconds = Field(10.0, description="Before the second; then ever longer")
    at_once: int = Field(2, ge=1, le=64, description="Tasks that are published at once")
    keep_days: Patience = Field(365.0, description="So long it knows what it has published")
    store: Path | None = Field(None, description="Its file; default: below data_dir")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return http_url(url)

    @field_validator("rules")
    @classmethod
    def _lead_to_places_of_their_own(
        cls, rules: tuple[PublishingRule, ...]
    ) -> tuple[PublishingRule, ...]:
        places = [rule.to for rule in rules]
        if twice := {place for place in places if places.count(place) > 1}:
            raise ValueError(
                f"two of them lead to {min(twice)}, and one would take the other's manifest: "
                "give each a directory of its own"
            )
        return rules


class TermRule(Section):
    """A field of the messages on a topic must be a term of a collection."""

    topic: str = Field(pattern=FILTER, max_length=_LONGEST_TOPIC)
    field: str = Field(min_length=1, max_length=128)
    collection: str = Field(pattern=_COLLECTION, description="namespace:collection")
    required: bool = Field(False, description="A message without the field breaks the rule, too")


class VocabularySettings(Section):
    """`tesp agent vocabulary`: terms that are served, and that messages are held against."""

    directory: Path | None = Field(None, description="Of the files of terms, JSON or TOML")
    port: Port = Field(8012, description="On 127.0.0.1")
    rules: tuple[TermRule, ...] = ()
    keep_days: Patience = Field(30.0, description="Rejections are kept so long")
    store: Path | None = Field(None, description="Its file; default: below data_dir")
