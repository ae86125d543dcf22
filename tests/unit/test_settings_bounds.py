"""Values that could never work stop the start; what works at the very edge is taken."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from tesp.errors import SettingsError
from tesp.settings import Settings, parse

_CENTURY = "3155760000"
_REMOTE = "ingress.voevent.remotes.0"
_SECRET = "sesame-sesame-sesame"


def inside(place: str, value: Any) -> Any:
    """A value at its place, and around it what else its table needs."""
    for part in reversed(place.split(".")):
        value = [value] if part == "0" else {part: value}
    return value


def pulsar(**keys: Any) -> dict[str, Any]:
    return {"pulsars": [{"name": "a", "url": "http://a.example:8913"} | keys]}


def broker(**keys: Any) -> dict[str, Any]:
    return {"bus": {"brokers": [{"name": "m", "url": "mqtt://mq.example"} | keys]}}


def two_brokers(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return {"bus": {"brokers": [{"name": "a"} | first, {"name": "b"} | second]}}


def mail(**keys: Any) -> dict[str, Any]:
    return {"notifications": {"mail": {"host": "mail.example", "sender": "a@x.example"} | keys}}


def sms(**keys: Any) -> dict[str, Any]:
    return {"notifications": {"sms": {"url": "https://sms.example"} | keys}}


def rule(**keys: Any) -> dict[str, Any]:
    return mail() | {
        "notifications": mail()["notifications"]
        | {"rules": [{"name": "r", "email": ["ops@x.example"]} | keys]}
    }


def target(**keys: Any) -> dict[str, Any]:
    one = {"name": "t", "url": "https://hooks.example", "secret": _SECRET}
    return {"webhooks": {"targets": [one | keys]}}


def trigger(**keys: Any) -> dict[str, Any]:
    return {"triggers": [{"name": "t", "topic": "a/status", "command": ["date"]} | keys]}


def when(**condition: Any) -> dict[str, Any]:
    return trigger(when={"m": condition})


def staged(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"staging": {kind: list(entries)}}


def registry(**keys: Any) -> dict[str, Any]:
    one = {"host": "registry.example", "username": "u", "password": "p"}
    return {"containers": {"registries": [one | keys]}}


def routes(*several: dict[str, Any]) -> dict[str, Any]:
    return {"routes": [{"pulsars": ["local"]} | one for one in several]}


NUMBERS: list[tuple[str, Any, str]] = [
    ("server.port", 99_999, "65535 or less"),
    ("server.port", -1, "0 or more"),
    ("dispatch.lease_seconds", 0, "0.1 or more"),
    ("dispatch.lease_seconds", -1, "0.1 or more"),
    ("dispatch.lease_seconds", math.inf, f"{_CENTURY} or less"),
    ("dispatch.max_retries", -1, "0 or more"),
    ("dispatch.max_retries", 1001, "1000 or less"),
    ("dispatch.retry_delay_seconds", -1, "0 or more"),
    ("dispatch.retry_delay_seconds", math.inf, f"{_CENTURY} or less"),
    ("dispatch.transfers", 0, "1 or more"),
    ("dispatch.keep_events_days", 0, "more than 0"),
    ("dispatch.keep_events_days", math.inf, "36525 or less"),
    ("dispatch.abandon_seconds", 0, "more than 0"),
    ("dispatch.abandon_seconds", math.nan, "more than 0"),
    ("local.slots", -1, "0 or more"),
    ("local.cpus", 0, "more than 0"),
    ("local.ram_gb", 0, "more than 0"),
    ("local.ram_gb", math.inf, "1000000000 or less"),
    ("staging.tries", 0, "1 or more"),
    ("staging.tries", 1001, "1000 or less"),
    ("staging.timeout_seconds", 0, "more than 0"),
    ("staging.timeout_seconds", math.inf, f"{_CENTURY} or less"),
    ("webhooks.callback_seconds", 0, "more than 0"),
    ("webhooks.callback_timeout_seconds", 0, "more than 0"),
    ("webhooks.callback_timeout_seconds", math.inf, f"{_CENTURY} or less"),
    ("ingress.smtp.port", 65_536, "65535 or less"),
    ("ingress.smtp.most_mail_bytes", 0, "1000 or more"),
    ("ingress.smtp.connections", 0, "1 or more"),
    ("ingress.smtp.remember_days", 0, "more than 0"),
    ("ingress.voevent.receive_port", 65_536, "65535 or less"),
    ("ingress.voevent.broadcast_port", 65_536, "65535 or less"),
    ("ingress.voevent.most_event_bytes", 0, "1000 or more"),
    ("ingress.voevent.connections", 0, "1 or more"),
    ("ingress.voevent.remember_days", -1, "more than 0"),
    ("metrics.interval_seconds", 0, "0.1 or more"),
    ("metrics.interval_seconds", math.inf, f"{_CENTURY} or less"),
    ("metrics.port", 0, "1 or more"),
    ("metrics.keep_days", 0, "more than 0"),
    ("metrics.silent_seconds", 0, "more than 0"),
    ("metrics.late_seconds", 0, "more than 0"),
    ("metrics.limits.cpu_percent", 101, "100 or less"),
    ("metrics.limits.load_per_cpu", 0, "more than 0"),
    ("metrics.limits.memory_percent", 101, "100 or less"),
    ("metrics.limits.swap_percent", 101, "100 or less"),
    ("metrics.limits.disk_percent", 101, "100 or less"),
    ("publisher.tries", 0, "1 or more"),
    ("publisher.tries", 1001, "1000 or less"),
    ("publisher.retry_seconds", 0, "more than 0"),
    ("publisher.at_once", 0, "1 or more"),
    ("publisher.keep_days", 0, "more than 0"),
    ("vocabulary.port", 65_536, "65535 or less"),
    ("vocabulary.keep_days", 0, "more than 0"),
]

NUMBERS_IN_LISTS: list[tuple[dict[str, Any], str, str]] = [
    (pulsar(poll_seconds=0), "pulsars.0.poll_seconds", "more than 0"),
    (pulsar(poll_seconds=math.inf), "pulsars.0.poll_seconds", f"{_CENTURY} or less"),
    (pulsar(give_up_seconds=0), "pulsars.0.give_up_seconds", "more than 0"),
    (pulsar(limits={"tasks": -1}), "pulsars.0.limits.tasks", "0 or more"),
    (pulsar(limits={"cpus": 0}), "pulsars.0.limits.cpus", "more than 0"),
    (pulsar(limits={"ram_gb": math.inf}), "pulsars.0.limits.ram_gb", "1000000000 or less"),
    (
        pulsar(classes=[{"manager": "m", "cpus": 0, "ram_gb": 1}]),
        "pulsars.0.classes.0.cpus",
        "more than 0",
    ),
    (
        pulsar(classes=[{"manager": "m", "cpus": 1, "ram_gb": 0}]),
        "pulsars.0.classes.0.ram_gb",
        "more than 0",
    ),
    ({"pulsar": {"url": "http://a", "status": {"poll_interval": 0}}}, "pulsar.status", "than 0"),
    (mail(port=0), "notifications.mail.port", "1 or more"),
    (mail(port=65_536), "notifications.mail.port", "65535 or less"),
    (mail(timeout_seconds=0), "notifications.mail.timeout_seconds", "more than 0"),
    (mail(timeout_seconds=math.inf), "notifications.mail.timeout_seconds", "or less"),
    (sms(timeout_seconds=0), "notifications.sms.timeout_seconds", "more than 0"),
    (sms(timeout_seconds=math.inf), "notifications.sms.timeout_seconds", "or less"),
    (rule(most=0), "notifications.rules.0.most", "1 or more"),
    (rule(most=2**63), "notifications.rules.0.most", "1000000 or less"),
    (rule(window_seconds=0), "notifications.rules.0.window_seconds", "more than 0"),
    (rule(window_seconds=math.inf), "notifications.rules.0.window_seconds", "or less"),
    (target(timeout_seconds=0), "webhooks.targets.0.timeout_seconds", "more than 0"),
    (target(timeout_seconds=math.inf), "webhooks.targets.0.timeout_seconds", "or less"),
    (trigger(timeout_seconds=0), "triggers.0.timeout_seconds", "more than 0"),
    (inside(_REMOTE, {"host": "h", "port": 0}), f"{_REMOTE}.port", "1 or more"),
]

_NO_HOST = "this is no host such as tes.example"

NAMES: list[tuple[dict[str, Any], str, str]] = [
    *(
        (inside(place, name), place, _NO_HOST)
        for place in ("server.host", "ingress.smtp.host", "ingress.voevent.host")
        for name in ("", " ", "http://127.0.0.1", "127.0.0.1:8000", "[::1]", "a/b")
    ),
    (
        inside("ingress.voevent.remotes.0.host", "vtp://h"),
        "ingress.voevent.remotes.0.host",
        _NO_HOST,
    ),
    (mail(host="mail.example:25"), "notifications.mail.host", _NO_HOST),
    *(
        (inside("server.cors_origins.0", name), "server.cors_origins.0", "this is no origin")
        for name in ("https://p.example/", "p.example", "https://P.example", "https://p:443", "")
    ),
    (inside("server.public_url", "https://tes.example:0"), "server.public_url", "the port 0"),
    (inside("publisher.url", "http://tes.example:0"), "publisher.url", "the port 0"),
    (
        inside("store.mongodb_uri", "localhost:27017"),
        "store.mongodb_uri",
        "no URI such as",
    ),
    (inside("db.mongodb_uri", "http://a"), "db.mongodb_uri", "no URI such as"),
    (inside("store.database", ""), "store.database", "must not be empty"),
    (inside("store.database", "a.b"), "store.database", "without space"),
    (inside("store.database", "a" * 64), "store.database", "63 bytes or less"),
    (pulsar(url="http://a.example:0"), "pulsars.0.url", "the port 0"),
    (pulsar(python=""), "pulsars.0.python", "must not be empty"),
    (routes({"tag": ""}), "routes.0.tag", "must not be empty"),
    (broker(url="mqtt://mq.example:0"), "bus.brokers.0.url", "the port 0"),
    (broker(url="amqp://mq", queues=[""]), "bus.brokers.0.queues.0", "must not be empty"),
    (
        rule(states=["PAUSED"]),
        "notifications.rules.0.states",
        "no task is ever PAUSED",
    ),
    (rule(owner=""), "notifications.rules.0.owner", "must not be empty"),
    (target(states=["UNKNOWN"]), "webhooks.targets.0.states", "no task is ever UNKNOWN"),
    (trigger(command=[""]), "triggers.0.command", "0 is empty"),
    (registry(host="https://registry.example"), "containers.registries.0.host", _NO_HOST),
    (registry(host="registry"), "containers.registries.0.host", "no registry such as"),
    (registry(username=""), "containers.registries.0.username", "must not be empty"),
    (registry(password=""), "containers.registries.0.password", "must not be empty"),
    (staged("s3", {"bucket": ""}), "staging.s3.0.bucket", "must not be empty"),
    (staged("s3", {"bucket": "s3://b"}), "staging.s3.0.bucket", "no bucket's name alone"),
    (staged("s3", {"endpoint": "s3.example"}), "staging.s3.0.endpoint", "no URL such as https:"),
    (staged("s3", {"region": ""}), "staging.s3.0.region", "must not be empty"),
    (staged("http", {"host": "https://d.example"}), "staging.http.0.host", _NO_HOST),
    (staged("http", {"host": "d.example:99999"}), "staging.http.0.host", _NO_HOST),
    (staged("ftp", {"host": "[::1]:21"}), "staging.ftp.0.host", _NO_HOST),
]

_USER, _PASSWORD = {"username": "u"}, {"password": "p"}
_MQTT = {"url": "mqtt://mq", "client_id": "c"}
_BUCKET, _HOST = {"bucket": "b"}, {"host": "d.example"}

TOGETHER: list[tuple[dict[str, Any], str, str]] = [
    (staged("s3", _BUCKET, _BUCKET), "staging.s3", "two of them are for the bucket b"),
    (staged("s3", {}, {"bucket": "*"}), "staging.s3", "two of them are for the bucket *"),
    (staged("s3", {"access_key": "k"}), "staging.s3.0", "access_key and secret_key go together"),
    (staged("s3", {"secret_key": "k"}), "staging.s3.0", "access_key and secret_key go together"),
    (staged("s3", {"session_token": "t"}), "staging.s3.0", "needs access_key and secret_key"),
    *(
        (staged(kind, _HOST | half), f"staging.{kind}.0", "username and password go together")
        for kind in ("http", "ftp")
        for half in (_USER, _PASSWORD)
    ),
    (staged("http", _HOST | _USER | _PASSWORD | {"token": "t"}), "staging.http.0", "both set"),
    (staged("ftp", _HOST | {"token": "t"}), "staging.ftp", "FTP knows no token"),
    (staged("http", _HOST, {"host": "D.example"}), "staging.http", "two of them are for the host"),
    (staged("ftp", _HOST, _HOST), "staging.ftp", "two of them are for the host d.example"),
    (staged("files", {"path": "/srv"}, {"path": "/srv/"}), "staging.files", "are at /srv"),
    (
        {"containers": {"registries": registry()["containers"]["registries"] * 2}},
        "containers.registries",
        "two of them are for the host registry.example",
    ),
    (two_brokers(_MQTT, _MQTT), "bus.brokers", "two of them are the client c at mq:1883"),
    (
        routes({"tag": "t"}, {"tag": "t", "value": "v"}),
        "routes.1",
        "routes.0 takes all",
    ),
    (routes({"tag": "t"}, {"tag": "t"}), "routes.1", "routes.0 takes all"),
    (when(below=3, above=5), "triggers.0.when.m", "no number is within"),
    (when(below=3, at_least=3), "triggers.0.when.m", "no number is within"),
    (when(at_most=2, at_least=3), "triggers.0.when.m", "no number is within"),
    (when(below=math.nan), "triggers.0.when.m", "no number is within"),
    (when(at_least=math.inf), "triggers.0.when.m", "no number is within"),
    (when(one_of=[]), "triggers.0.when.m.one_of", "must not be empty"),
]


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        *((inside(place, value), place, said) for place, value, said in NUMBERS),
        *NUMBERS_IN_LISTS,
        *NAMES,
        *TOGETHER,
    ],
)
def test_what_could_never_work_stops_the_start_with_its_key_and_the_mend(
    data: dict[str, Any], place: str, said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(data)
    assert str(caught.value).startswith(place)
    assert said in str(caught.value)
    assert ";" not in str(caught.value), "one mistake is told of once"


@pytest.mark.parametrize(
    "data",
    [
        inside("server.port", 0),
        inside("server.host", "::"),
        inside("server.host", "0.0.0.0"),
        inside("server.host", "tes_node.example"),
        inside("server.cors_origins", ["*", "null", "https://p.example", "http://[::1]:3000"]),
        inside("ingress.smtp.port", 0),
        inside("ingress.voevent.receive_port", 0),
        inside("dispatch.max_retries", 0),
        inside("dispatch.retry_delay_seconds", 0),
        inside("dispatch.abandon_seconds", math.inf),
        inside("webhooks.callback_seconds", math.inf),
        inside("metrics.keep_days", math.inf),
        inside("local.slots", 0),
        inside("store.mongodb_uri", "mongodb+srv://a.example"),
        pulsar(give_up_seconds=math.inf, limits={"tasks": 0}),
        trigger(timeout_seconds=math.inf),
        when(at_least=3, at_most=3),
        when(above=-math.inf, below=math.inf),
        when(),
        broker(username="u"),
        two_brokers(_MQTT, _MQTT | {"url": "mqtt://other"}),
        two_brokers(_MQTT | {"url": "amqp://mq"}, _MQTT | {"url": "amqp://mq"}),
        routes({"tag": "t", "value": "v"}, {"tag": "t"}),
        registry(host="registry.example:5000"),
        registry(host="docker.io"),
        staged("s3", _BUCKET, {}, {"bucket": "c", "access_key": "k", "secret_key": "s"}),
        staged("http", _HOST, {"host": "d.example:8443", "token": "t"}, {"host": "::1"}),
        staged("ftp", _HOST | {"username": "anonymous", "password": ""}),
    ],
)
def test_what_works_at_the_edge_is_taken(data: dict[str, Any]) -> None:
    parse(data)


def kinds(annotation: Any) -> Iterator[Any]:
    """All that a value may be, or hold."""
    yield annotation
    for inner in get_args(annotation):
        yield from kinds(inner)


def numbers(model: type[BaseModel], above: str = "") -> Iterator[str]:
    """The places of all numbers, one for each list."""
    for name, field in model.model_fields.items():
        place, origin = f"{above}{name}", get_origin(field.annotation)
        if isinstance(origin, type) and issubclass(origin, Mapping):
            continue
        for kind in kinds(field.annotation):
            if kind in (int, float):
                yield place
            elif isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from numbers(kind, f"{place}.0." if origin is tuple else f"{place}.")


@pytest.mark.parametrize("place", list(numbers(Settings)))
def test_no_number_may_be_below_nothing(place: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(inside(place, -1))
    assert f"{place}: this must be " in str(caught.value)
