"""The settings of the TESP API, as its README and its own file have them."""

from pathlib import Path
from typing import Any

import pytest

from tesp.errors import SettingsError
from tesp.settings import Settings, load, parse

# Every key that its settings.toml was seen with.
THEIRS = """
[default]
db.mongodb_uri = "mongodb://localhost:27017"
pulsar.url = "http://localhost:8913"
pulsar.status.poll_interval = 7
pulsar.status.max_polls = 400
pulsar.client_timeout = 30

logging.level = "DEBUG"
logging.output_json = false

oauth.enable = false
basic_auth.enable = false
basic_auth.username = "user"
basic_auth.password = "password"

[dev-docker]
db.mongodb_uri = "mongodb://tesp-db:27017"
pulsar.url = "http://pulsar_rest:8913"
logging.output_json = true
"""


def theirs(directory: Path, **environ: str) -> Settings:
    file = directory / "settings.toml"
    file.write_text(THEIRS)
    return load(file, environ)


def amqp_url(settings: Settings) -> str:
    url = settings.pulsars[0].amqp_url
    assert url is not None
    return url.get_secret_value()


def test_its_settings_file_is_read_as_it_stands(tmp_path: Path) -> None:
    settings = theirs(tmp_path)
    assert settings.store.kind == "mongodb"
    assert settings.store.mongodb_uri.get_secret_value() == "mongodb://localhost:27017"
    (pulsar,) = settings.pulsars
    assert (pulsar.name, pulsar.url) == ("pulsar", "http://localhost:8913")
    assert pulsar.amqp_url is None
    assert pulsar.runtime == "docker"
    assert settings.logging.level == "DEBUG"
    assert not settings.runs_locally


def test_its_profile_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    settings = theirs(tmp_path, FASTAPI_PROFILE="dev-docker")
    assert settings.store.mongodb_uri.get_secret_value() == "mongodb://tesp-db:27017"
    assert settings.pulsars[0].url == "http://pulsar_rest:8913"
    assert settings.pulsars[0].poll_seconds == 7
    assert (settings.logging.level, settings.logging.output_json) == ("DEBUG", True)


def test_its_variables_reach_its_keys(tmp_path: Path) -> None:
    variables = {"TESP_API_PULSAR__URL": "http://v:8913", "TESP_DB__MONGODB_URI": "mongodb://v"}
    settings = theirs(tmp_path, **variables)
    assert settings.pulsars[0].url == "http://v:8913"
    assert settings.store.mongodb_uri.get_secret_value() == "mongodb://v"


def test_the_interval_of_its_polls_is_our_longest_pause(tmp_path: Path) -> None:
    assert theirs(tmp_path).pulsars[0].poll_seconds == 7
    assert parse({"pulsar": {"url": "http://a"}}).pulsars[0].poll_seconds == 3


def test_an_amqp_url_asks_for_the_broker(tmp_path: Path) -> None:
    settings = theirs(tmp_path, TESP_PULSAR__AMQP_URL="amqp://u:p@mq:5672/pulsar")
    assert amqp_url(settings) == "amqp://u:p@mq:5672/pulsar"
    assert settings.pulsars[0].url == "http://localhost:8913"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("pyamqp://u:p%40@mq:5671/pulsar?ssl=1", "amqps://u:p%40@mq:5671/pulsar"),
        ("pyamqp://u:p@mq//", "amqp://u:p@mq//"),
        ("pyamqp://u:p@mq/v?heartbeat=5&ssl=0", "amqp://u:p@mq/v?heartbeat=5"),
        ("amqps://u:p@mq/v", "amqps://u:p@mq/v"),
    ],
)
def test_a_url_in_the_spelling_of_kombu_is_understood(given: str, meant: str) -> None:
    assert amqp_url(parse({"pulsar": {"amqp_url": given}})) == meant


def test_the_one_pulsar_may_have_all_that_one_of_several_has() -> None:
    table = {"url": "http://a", "token": "t", "manager": "m", "limits": {"tasks": 3}}
    (pulsar,) = parse({"pulsar": table}).pulsars
    assert (pulsar.manager, pulsar.limits.tasks) == ("m", 3)


@pytest.mark.parametrize("kind", ["docker", "singularity"])
def test_container_type_is_the_runtime_of_the_pulsar_and_of_this_machine(
    tmp_path: Path, kind: str
) -> None:
    settings = theirs(tmp_path, CONTAINER_TYPE=kind)
    assert (settings.pulsars[0].runtime, settings.local.runtime) == (kind, kind)


def test_container_type_gives_way_to_a_setting(tmp_path: Path) -> None:
    variables = {"TESP_PULSAR__RUNTIME": "apptainer", "TESP_LOCAL__RUNTIME": "podman"}
    settings = theirs(tmp_path, CONTAINER_TYPE="docker", **variables)
    assert (settings.pulsars[0].runtime, settings.local.runtime) == ("apptainer", "podman")


def test_container_type_leaves_our_own_pulsars_alone() -> None:
    environ = {"CONTAINER_TYPE": "singularity", "TESP_PULSARS": '[{name="a", url="http://a"}]'}
    assert load(None, environ).pulsars[0].runtime == "docker"


def test_a_container_type_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="CONTAINER_TYPE = both: choose one of docker"):
        load(None, {"CONTAINER_TYPE": "both"})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"pulsar": {"url": "http://a"}, "pulsars": [{"name": "b", "url": "http://b"}]},
            "pulsar and pulsars are both set",
        ),
        (
            {"db": {"mongodb_uri": "mongodb://a"}, "store": {"mongodb_uri": "mongodb://b"}},
            "db.mongodb_uri and store are both set",
        ),
        (
            {"db": {"mongodb_uri": "mongodb://a"}, "store": {"kind": "sqlite"}},
            "db.mongodb_uri and store are both set",
        ),
        ({"db": {"mongodb_url": "x"}}, "db.mongodb_url: no such setting; did you mean mongodb_uri"),
        ({"pulsar": {}}, "pulsar: a Pulsar needs a url, an amqp_url, or both"),
        ({"pulsar": {"url": "http://a:x"}}, "pulsar.url: this is no URL"),
        (
            {"pulsar": {"url": "http://a", "status": {"poll_intervall": 3}}},
            "pulsar.status.poll_intervall: no such setting; did you mean poll_interval?",
        ),
    ],
)
def test_what_contradicts_itself_or_is_no_key_stops_the_start(
    data: dict[str, Any], said: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(data)
    assert said in str(caught.value)


def test_the_database_may_be_named_beside_its_uri() -> None:
    data = {"db": {"mongodb_uri": "mongodb://a"}, "store": {"database": "other"}}
    assert parse(data).store.database == "other"
