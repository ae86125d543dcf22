"""What the settings of the TESP API were called, in our words. Pure: a mapping to a mapping."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr, field_validator

from tesp.errors import SettingsError
from tesp.settings.complaints import checked
from tesp.settings.pulsars import PulsarSettings
from tesp.settings.quantities import Seconds
from tesp.settings.section import Section
from tesp.settings.service import MongodbUri
from tesp.settings.variables import NO_ORIGINS, Origins

CONTAINER_TYPE = "CONTAINER_TYPE"
_PULSAR = "pulsar"
_RUNTIMES = ("docker", "podman", "apptainer", "singularity")


class _Database(Section):
    mongodb_uri: MongodbUri | None = None


class _Status(Section):
    """How often a Pulsar was asked. Ours is asked more often at first, and then ever less."""

    poll_interval: Seconds | None = None
    # A task was given up after so many; ours are followed to their end.
    max_polls: int | None = None


class _Pulsar(PulsarSettings):
    """The one Pulsar, with all that one of several may have."""

    name: str = _PULSAR
    status: _Status = _Status()
    # Of a whole request: big files came to grief. Ours bounds silence instead.
    client_timeout: float | None = None

    @field_validator("amqp_url", mode="before")
    @classmethod
    def _in_our_spelling(cls, url: Any) -> Any:
        return _amqp(url) if isinstance(url, str) else url


class _LegacyKeys(Section):
    db: _Database | None = None
    pulsar: _Pulsar | None = None


LEGACY_KEYS = frozenset(_LegacyKeys.model_fields)


def translated(data: Mapping[str, Any], origins: Origins = NO_ORIGINS) -> dict[str, Any]:
    """The same settings without a legacy key; raises SettingsError where both are given."""
    ours = {key: value for key, value in data.items() if key not in LEGACY_KEYS}
    theirs = checked(_LegacyKeys, {k: v for k, v in data.items() if k in LEGACY_KEYS}, origins)
    store = ours.get("store") or {}
    if theirs.db and theirs.db.mongodb_uri and isinstance(store, Mapping):
        ours["store"] = _store(theirs.db.mongodb_uri, store)
    if theirs.pulsar:
        if ours.get("pulsars"):
            raise SettingsError(
                "pulsar and pulsars are both set: write all as [[pulsars]], each with its name"
            )
        ours["pulsars"] = [_one_of_several(theirs.pulsar)]
    return ours


def with_container_type(data: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The runtime of CONTAINER_TYPE for the legacy Pulsar and this machine, where none is set."""
    if kind not in _RUNTIMES:
        raise SettingsError(f"{CONTAINER_TYPE} = {kind}: choose one of {', '.join(_RUNTIMES)}")
    chosen = dict(data)
    for name in ("local", *((_PULSAR,) if _PULSAR in data else ())):
        if isinstance(table := data.get(name, {}), Mapping):
            chosen[name] = {"runtime": kind, **table}
    return chosen


def _store(uri: SecretStr, store: Mapping[str, Any]) -> dict[str, Any]:
    if "mongodb_uri" in store or store.get("kind", "mongodb") != "mongodb":
        raise SettingsError(
            "db.mongodb_uri and store are both set: write store.kind and store.mongodb_uri alone"
        )
    return {**store, "kind": "mongodb", "mongodb_uri": uri}


def _one_of_several(pulsar: _Pulsar) -> dict[str, Any]:
    entry = pulsar.model_dump(exclude={"status", "client_timeout"}, exclude_unset=True)
    if pulsar.status.poll_interval:
        entry.setdefault("poll_seconds", pulsar.status.poll_interval)
    return {**entry, "name": pulsar.name}


def _amqp(url: str) -> str:
    """From kombu's spelling, `pyamqp://...?ssl=1`."""
    if not url.startswith("pyamqp://"):
        return url
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    safe = options.pop("ssl", "0").lower() in ("1", "true")
    scheme = "amqps" if safe else "amqp"
    return parts._replace(scheme=scheme, query=urlencode(options)).geturl()
