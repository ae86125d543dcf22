"""What the settings take, and the sentences with which they refuse."""

import platform
from typing import Any

import pytest

from tesp.errors import SettingsError
from tesp.settings import Settings, parse

_SECRET = "sesame"
_A = {"name": "a", "url": "http://a.example:8913"}
_B = {"name": "b", "url": "http://b.example:8913"}


def refused(data: dict[str, Any]) -> str:
    """The sentence with which settings are refused."""
    with pytest.raises(SettingsError) as caught:
        parse(data)
    return str(caught.value)


def pulsar(**keys: Any) -> dict[str, Any]:
    return {"pulsars": [_A | keys]}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"servr": {}}, "servr: no such setting; did you mean server?"),
        ({"server": {"prot": 1}}, "server.prot: no such setting; did you mean port?"),
        (pulsar(tokn=_SECRET), "pulsars.0.tokn: no such setting; did you mean token?"),
        (
            pulsar(limits={"task": 3}),
            "pulsars.0.limits.task: no such setting; did you mean tasks?",
        ),
        (
            pulsar(classes=[{"manager": "m", "cpus": 1, "ram_gb": 1, "memory": 3}]),
            "pulsars.0.classes.0.memory: no such setting",
        ),
        (
            {"staging": {"s3": [{}, {"acess_key": _SECRET}]}},
            "staging.s3.1.acess_key: no such setting; did you mean access_key?",
        ),
        (
            {"containers": {"registries": [{"host": "h", "username": "u", "pasword": _SECRET}]}},
            "containers.registries.0.pasword: no such setting; did you mean password?",
        ),
        ({"pulsar": {"status": {"poll": 3}}}, "pulsar.status.poll: no such setting"),
        ({"port": 8000}, "port: no such setting; did you mean server.port?"),
    ],
)
def test_a_wrong_key_is_named_with_the_nearest_right_one_at_every_depth(
    data: dict[str, Any], said: str
) -> None:
    assert said in refused(data)


_SCALAR = (
    "Input should be a valid string or Input should be a valid integer or "
    "Input should be a valid number or Input should be a valid boolean"
)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ({"bellow": 3}, "triggers.0.when.m.bellow: no such setting; did you mean below?"),
        ({"below": []}, "triggers.0.when.m.below: Input should be a valid number"),
        ({"below": "x"}, "triggers.0.when.m.below: Input should be a valid number, unable"),
        ({"matches": "("}, "triggers.0.when.m.matches: "),
        ({"equals": []}, f"triggers.0.when.m.equals: {_SCALAR}"),
        ({"one_of": [1, {}]}, f"triggers.0.when.m.one_of.1: {_SCALAR}"),
        ([1], f"triggers.0.when.m: {_SCALAR} or this must be a table"),
    ],
)
def test_of_a_value_of_several_kinds_only_the_kind_that_was_meant_is_told(
    condition: Any, said: str
) -> None:
    trigger = {"name": "t", "topic": "a", "command": ["date"], "when": {"m": condition}}
    told = refused({"triggers": [trigger]})
    assert told.startswith(said)
    assert ";" not in told.removeprefix(said)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pulsar(preemptible=[]), "pulsars.0.preemptible: Input should be a valid boolean"),
        (pulsar(submit_params={"x": []}), "pulsars.0.submit_params.x: Input should be"),
        ({"agents": {"addresses": {"observer": 1}}}, "agents.addresses.observer: Input should be"),
        ({"agents": {"addresses": {1: "h:1"}}}, "agents.addresses.1: Input should be"),
    ],
)
def test_a_value_in_a_table_of_any_names_is_named(data: dict[str, Any], said: str) -> None:
    assert refused(data).startswith(said)


def test_every_wrong_key_is_told_of_at_once() -> None:
    said = refused({"servr": {}, "store": {"knd": "sqlite"}})
    assert "servr: no such setting" in said
    assert "store.knd: no such setting; did you mean kind?" in said


@pytest.mark.parametrize(
    "data",
    [
        pulsar(tokn=_SECRET),
        pulsar(url=f"http://alice:{_SECRET}@a.example"),
        pulsar(url=f"http://a.example?private_token={_SECRET}"),
        pulsar(url=f"http://a.example:{_SECRET}"),
        pulsar(amqp_url=f"https://alice:{_SECRET}@a.example"),
        pulsar(amqp_url=f"amqp://alice:{_SECRET}@a.example:port"),
        pulsar(token=[_SECRET]),
        {"pulsar": {"amqp_url": f"http://alice:{_SECRET}@a.example"}},
        {"db": {"mongodb_uri": [_SECRET]}},
        {"store": _SECRET},
        {"basic_auth": {"enable": True, "username": "alice", "password": _SECRET}},
        {"staging": {"s3": [{"secret_key": {"value": _SECRET}}]}},
    ],
)
def test_a_refusal_never_tells_a_value(data: dict[str, Any]) -> None:
    assert _SECRET not in refused(data)


def test_secrets_are_not_shown_with_the_settings() -> None:
    url = f"amqp://alice:{_SECRET}@a.example"
    assert _SECRET not in repr(parse(pulsar(token=_SECRET, amqp_url=url)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"basic_auth": {"enable": True}}, "basic_auth.enable: this version does not check"),
        ({"oauth": {"enable": True}}, "oauth.enable: this version does not check"),
    ],
)
def test_a_protection_that_is_not_there_cannot_be_asked_for(
    data: dict[str, Any], said: str
) -> None:
    assert said in refused(data)


def test_a_protection_that_is_not_asked_for_may_be_described() -> None:
    off = {"enable": False, "username": "user", "password": "password"}
    assert not parse({"basic_auth": off, "oauth": {"enable": False}}).basic_auth.enable


@pytest.mark.parametrize(
    ("enabled", "pulsars", "runs"),
    [
        (None, [], True),
        (None, [_A], False),
        (True, [_A], True),
        (False, [], False),
    ],
)
def test_this_machine_runs_tasks_where_it_is_told_to_or_nothing_else_does(
    enabled: bool | None, pulsars: list[dict[str, Any]], runs: bool
) -> None:
    local = {} if enabled is None else {"enabled": enabled}
    assert parse({"local": local, "pulsars": pulsars}).runs_locally is runs


@pytest.mark.parametrize(
    ("pulsars", "said"),
    [
        ([_A, _A], "pulsars: two of them are called a"),
        ([_A | {"name": "local"}], "pulsars: local is the name of this machine's own backend"),
        ([_A | {"name": "a/b"}], "pulsars.0.name: "),
        ([{"name": "a"}], "pulsars.0: a Pulsar needs a url, an amqp_url, or both"),
        ([{"url": "http://a"}], "pulsars.0.name: this key must be set"),
        ("a", "pulsars: this must be a list"),
    ],
)
def test_pulsars_are_told_apart_and_can_be_reached(pulsars: Any, said: str) -> None:
    assert said in refused({"pulsars": pulsars})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"url": "ftp://a.example"}, "pulsars.0.url: this is no URL such as https://"),
        ({"url": "a.example:8913"}, "pulsars.0.url: this is no URL such as https://"),
        ({"url": "http://u:p@a.example"}, "pulsars.0.url: credentials do not belong"),
        ({"amqp_url": "pyamqp://a.example"}, "pulsars.0.amqp_url: this is no URL such as amqp:"),
        ({"manager": "a/../b"}, "pulsars.0.manager: "),
        ({"runtime": "dokcer"}, "pulsars.0.runtime: Input should be 'docker'"),
        ({"preemptible": "perhaps"}, "pulsars.0.preemptible: Input should be a valid boolean"),
        ({"limits": {"tasks": -1}}, "pulsars.0.limits.tasks: "),
    ],
)
def test_a_pulsar_is_refused_for_what_could_never_work(keys: dict[str, Any], said: str) -> None:
    assert said in refused(pulsar(**keys))


@pytest.mark.parametrize(
    "keys",
    [
        {"url": "https://a.example/pulsar"},
        {"url": None, "amqp_url": "amqps://alice:sesame@a.example:5671/vhost"},
        {"amqp_url": "amqp://127.0.0.1"},
        {"preemptible": "only"},
        {"preemptible": "true"},
    ],
)
def test_a_pulsar_is_taken_as_it_is_reached(keys: dict[str, Any]) -> None:
    assert parse(pulsar(**keys)).pulsars[0].name == "a"


def test_a_slash_at_the_end_of_an_address_changes_nothing() -> None:
    settings = parse(pulsar(url="http://a.example:8913/") | {"server": {"public_url": "http://b/"}})
    assert settings.pulsars[0].url == "http://a.example:8913"
    assert settings.server.reachable_url() == "http://b"


def size(manager: str) -> dict[str, Any]:
    return {"manager": manager, "cpus": 1, "ram_gb": 2}


def test_classes_stand_in_place_of_the_manager() -> None:
    classes = [size("small"), size("large")]
    assert [c.manager for c in parse(pulsar(classes=classes)).pulsars[0].classes] == [
        "small",
        "large",
    ]
    assert "manager and classes are both set" in refused(pulsar(classes=classes, manager="m"))
    assert "the same manager" in refused(pulsar(classes=[size("small"), size("small")]))


@pytest.mark.parametrize("choice", [{"classes": [size("m")]}, {"control_manager": "m"}])
def test_managers_that_share_their_queues_cannot_be_chosen(choice: dict[str, Any]) -> None:
    keys = {"amqp_url": "amqp://mq.example", "amqp_key_prefix": "site"}
    assert parse(pulsar(**keys))
    assert "any manager takes any job" in refused(pulsar(**keys, **choice))


@pytest.mark.parametrize(
    "template", ["--cpus={cpus} --mem={ram_mb}M", "{ram_gb}{ram_gb}", "a } b {", "plain"]
)
def test_what_submit_params_can_fill_in_is_taken(template: str) -> None:
    assert parse(pulsar(submit_params={"native_specification": template}))


@pytest.mark.parametrize(
    "template", ["{memory}", "{}", "{cpus.real}", "{ram_gb:.1f}", "-n {cpus} {CPUS}"]
)
def test_what_submit_params_cannot_fill_in_stops_the_start(template: str) -> None:
    said = refused(pulsar(submit_params={"native_specification": template}))
    assert said.startswith("pulsars.0.submit_params: native_specification: ")
    assert "{cpus}, {ram_gb}, {ram_mb}" in said


def test_a_route_leads_to_what_is_there() -> None:
    route = {"tag": "project", "value": "x", "pulsars": ["a", "local"]}
    here = {"local": {"enabled": True}}
    assert parse({"pulsars": [_A, _B], "routes": [route], **here}).routes[0].pulsars[0] == "a"
    assert "routes.0.pulsars: no local; there are: a, b" in refused(
        {"pulsars": [_A, _B], "routes": [route]}
    )
    assert "routes.0.pulsars: no a; there are: local" in refused({"routes": [route]})


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ({"port": 8080}, "http://127.0.0.1:8080"),
        ({"host": "::1", "port": 8080}, "http://[::1]:8080"),
        ({"host": "0.0.0.0", "port": 8080}, f"http://{platform.node()}:8080"),
        ({"host": "::", "port": 8080}, f"http://{platform.node()}:8080"),
        ({"public_url": "https://tes.example/a"}, "https://tes.example/a"),
        ({"port": 8443, "certificate": "tes.pem"}, "https://127.0.0.1:8443"),
    ],
)
def test_pulsars_are_told_an_address_that_can_be_reached(server: dict[str, Any], url: str) -> None:
    assert parse({"server": server}).server.reachable_url() == url


def test_a_key_needs_its_certificate() -> None:
    assert "certificate_key needs certificate" in refused({"server": {"certificate_key": "k.pem"}})


@pytest.mark.parametrize("url", ["tes.example", "ftp://tes.example", "https://a:b@tes.example"])
def test_a_public_address_is_one(url: str) -> None:
    assert "server.public_url: " in refused({"server": {"public_url": url}})


@pytest.mark.parametrize(
    ("given", "level"), [("debug", "DEBUG"), ("Warn", "WARNING"), ("critical", "CRITICAL")]
)
def test_the_level_of_the_log_is_read_in_any_case(given: str, level: str) -> None:
    assert parse({"logging": {"level": given}}).logging.level == level


def test_a_level_that_is_none_is_refused() -> None:
    assert "logging.level: Input should be 'DEBUG'" in refused({"logging": {"level": "loud"}})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse({}).server.port = 1  # type: ignore[misc]
    assert parse({}) == Settings()
