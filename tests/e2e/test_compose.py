"""The compose files hold together. `make try-compose` builds and runs what they describe."""

import functools
import json
import os
import re
import shlex
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tesp.settings import Settings, load
from tests.compose.stack import compose
from tests.compose.trials import with_storage

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
STACK = ROOT / "docker-compose.yaml"
TRANSFERS = DOCKER / "dts" / "docker-compose.yaml"
PROFILES = ("", "pulsar", "amqp", "mqtt", "dev")
SETTINGS = DOCKER / "tesp" / "settings.toml"
SECRETS = {
    "PULSAR_TOKEN": "a-token",
    "RABBITMQ_PASSWORD": "a-password",
    "RABBITMQ_PULSAR_PASSWORD": "of-pulsar",
    "MQTT_PASSWORD": "of-mqtt",
}
SERVICES = {
    "": {"api", "mongodb"},
    "pulsar": {"pulsar"},
    "amqp": {"rabbitmq", "pulsar-amqp"},
    "mqtt": {"mosquitto"},
    "dev": {"dev"},
}
# The file of requirements that a Dockerfile makes out of pyproject.toml.
OF_TESP = "wanted"
# Images and ports of the separate stack have no place in the .env of this one.
OF_TRANSFERS = {"DTS_IMAGE", "HTTP_PORT", "FTP_PORT", "S3_PORT"}

# Where Docker's command line finds the compose of this machine.
_KEPT = ("PATH", "HOME", "DOCKER_CONFIG")

Service = dict[str, Any]


@functools.cache
def config(file: Path, *profiles: str, **variables: str) -> dict[str, Any]:
    """The file as compose understands it, with an .env in which nothing else is set."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    chosen = [part for profile in profiles if profile for part in ("--profile", profile)]
    done = subprocess.run(
        [*compose(), "--env-file", ROOT / ".env.example", "-f", file, *chosen, "config"],
        env={**kept, **variables},
        capture_output=True,
        check=False,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    """All services of both files."""
    found: dict[str, Service] = config(STACK, *PROFILES, **SECRETS)["services"]
    return found | config(TRANSFERS)["services"]


def mounts(service: Service) -> Iterator[tuple[str, str]]:
    """What of the machine a service sees, and where."""
    for mount in service.get("volumes", []):
        if isinstance(mount, str):
            source, target = mount.split(":")[:2]
        else:
            source, target = mount.get("source", ""), mount["target"]
        if source.startswith("/"):
            yield source, target


def dockerfiles() -> list[Path]:
    return sorted(DOCKER.rglob("Dockerfile"))


def pins(file: Path) -> dict[str, str]:
    rows = (line.split("==") for line in file.read_text().splitlines() if "==" in line)
    return {package(name): version.strip() for name, version in rows}


def package(requirement: str) -> str:
    """The package that a requirement names, as all registries write it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def installs(dockerfile: Path) -> Iterator[tuple[set[str], set[str]]]:
    """Of each `pip install`: the packages that it names, and those that its files pin."""
    text = dockerfile.read_text().replace("\\\n", " ")
    sources = " ".join(re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE)).split()
    files = {Path(source).name: ROOT / source for source in sources}
    for command in re.findall(r"pip install (.*?)(?:&&|$)", text, re.MULTILINE):
        words = ["", *shlex.split(command)]
        if "--no-deps" in words:
            continue
        asked = [word for before, word in pairwise(words) if before == "-r"]
        told = [word for before, word in pairwise(words) if before in ("-c", "-r")]
        known = [files[Path(word).name] for word in told if word != OF_TESP]
        names = {word for word in words if word and word not in told and word[0] != "-"}
        for word in asked:
            names |= needed() if word == OF_TESP else set(files[word].read_text().split())
        yield {package(name) for name in names}, {name for file in known for name in pins(file)}


def needed() -> set[str]:
    """What pyproject.toml asks for: the Dockerfile of tesp writes it into a file."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {*project["build-system"]["requires"], *project["project"]["dependencies"]}


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_starts_its_services_beside_those_of_all(profile: str) -> None:
    # The older compose shows those of other profiles too.
    found = config(STACK, profile)["services"].items()
    started = {name for name, s in found if not s.get("profiles") or profile in s["profiles"]}
    assert started == SERVICES[""] | SERVICES[profile]


def test_every_service_tells_its_health(services: dict[str, Service]) -> None:
    assert [n for n, service in services.items() if not service["healthcheck"].get("test")] == []


def test_every_file_that_is_mounted_exists(services: dict[str, Service]) -> None:
    ours = {s for service in services.values() for s, _ in mounts(service) if str(ROOT) in s}
    assert ours
    assert [source for source in ours if not Path(source).exists()] == []


def test_data_have_one_absolute_path_on_the_machine_and_in_containers() -> None:
    found = config(STACK, *PROFILES, TESP_DATA="/srv/elsewhere")["services"].values()
    seen = [m for service in found for m in mounts(service) if "/srv/elsewhere" in "".join(m)]
    assert {Path(s).name for s, _ in seen} == {"api", "dev", "pulsar", "pulsar-amqp"}
    assert all(source == target for source, target in seen)
    for service in found:
        own = service.get("environment", {}).get("OWN_DIRECTORY")
        assert own is None or (own, own) in mounts(service)


def test_ports_are_published_on_this_machine_alone(services: dict[str, Service]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    addresses = [p.split(":")[0] if isinstance(p, str) else p["host_ip"] for p in ports]
    assert set(addresses) == {"127.0.0.1"}


def test_only_tesp_is_on_the_network_of_the_store(services: dict[str, Service]) -> None:
    on_it = {name for name, service in services.items() if "store" in service.get("networks", {})}
    assert on_it == {"api", "dev", "mongodb"}
    assert set(services["mongodb"]["networks"]) == {"store"}
    assert "ports" not in services["mongodb"]


def test_services_with_the_docker_socket_keep_no_more_than_what_gives_root_up(
    services: dict[str, Service],
) -> None:
    with_socket = {n for n, s in services.items() if "/var/run/docker.sock" in dict(mounts(s))}
    assert with_socket == {"api", "dev", "pulsar", "pulsar-amqp"}
    for name in with_socket:
        assert services[name]["cap_drop"] == ["ALL"]
        assert set(services[name]["cap_add"]) <= {"CHOWN", "KILL", "SETGID", "SETPCAP", "SETUID"}


@pytest.mark.parametrize("file", dockerfiles(), ids=lambda file: file.parent.name)
def test_images_end_as_a_user_and_name_no_registry(file: Path) -> None:
    text = file.read_text()
    users = re.findall(r"^USER (\S+)$", text, re.MULTILINE)
    assert users
    assert users[-1] != "root"
    defaults = re.findall(r"^ARG \w+_IMAGE=(\S+)$", text, re.MULTILINE)
    assert defaults
    assert [d for d in defaults if "." in d.partition("/")[0] and "/" in d] == []
    assert "index-url" not in text


def test_images_have_the_versions_that_are_tested() -> None:
    ours, peers = pins(ROOT / "constraints.txt"), ROOT / "tests" / "peers" / "constraints"
    of_pulsar, of_s3 = pins(peers / "pulsar.txt"), pins(peers / "moto.txt")
    assert pins(DOCKER / "pulsar" / "constraints.txt") == of_pulsar
    assert of_pulsar["pulsar-app"] == "0.16.0"
    of_ftp = {"pyftpdlib": ours["pyftpdlib"]}
    assert pins(DOCKER / "dts" / "constraints.txt") == of_s3 | of_ftp
    assert pins(DOCKER / "tesp" / "dev-requirements.txt").keys() == {"watchfiles"}


@pytest.mark.parametrize("file", dockerfiles(), ids=lambda file: file.parent.name)
def test_every_package_that_an_image_asks_for_has_its_version_from_a_file(file: Path) -> None:
    found = list(installs(file))
    assert found
    for named, pinned in found:
        assert named
        assert named <= pinned


@pytest.mark.parametrize("name", ["api", "dev"])
def test_what_the_containers_are_told_are_settings(services: dict[str, Service], name: str) -> None:
    told = load(SETTINGS, {k: str(v) for k, v in services[name]["environment"].items()})
    assert told.server.allow_open
    assert told.server.port == 8080
    assert told.store.kind == "mongodb"
    assert told.local.runtime == "docker"
    assert (str(told.data_dir),) * 2 in mounts(services[name])


def section(name: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for variable, value in SECRETS.items():
        monkeypatch.setenv(variable, value)
    return load(SETTINGS, {"TESP_ENV": name})


def test_the_sections_of_pulsars_fit_their_services(
    services: dict[str, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    (rest,) = section("docker-pulsar", monkeypatch).pulsars
    assert rest.url == "http://pulsar:8913"
    assert rest.token is not None
    assert rest.token.get_secret_value() == "a-token"
    (amqp,) = section("docker-amqp", monkeypatch).pulsars
    told = services["pulsar-amqp"]["environment"]
    assert amqp.amqp_url is not None
    ours, theirs = (
        urlsplit(url)
        for url in (
            amqp.amqp_url.get_secret_value(),
            told["PULSAR_CONFIG_OVERRIDE_MESSAGE_QUEUE_URL"],
        )
    )
    assert (ours.username, ours.password) == ("tesp", "a-password")
    assert (theirs.username, theirs.password) == ("pulsar", "of-pulsar")
    assert (ours.hostname, ours.port, ours.path) == (theirs.hostname, theirs.port, theirs.path)
    assert section("docker", monkeypatch).pulsars == ()


@pytest.mark.parametrize(
    ("name", "service", "variable"),
    [
        ("docker-amqp", "rabbitmq", "RABBITMQ_PASSWORD"),
        ("docker-mqtt", "mosquitto", "MQTT_PASSWORD"),
    ],
)
def test_the_sections_of_brokers_fit_their_services(
    services: dict[str, Service],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    service: str,
    variable: str,
) -> None:
    (broker,) = section(name, monkeypatch).bus.brokers
    assert (broker.host, broker.username) == (service, "tesp")
    assert broker.secret == services[service]["environment"][variable] == SECRETS[variable]
    assert services["api"]["environment"][variable] == SECRETS[variable]


@pytest.mark.parametrize(
    ("service", "variables"), [("mosquitto", "MQTT"), ("rabbitmq", "RABBITMQ")]
)
def test_each_user_of_a_broker_has_his_password_from_the_environment(
    services: dict[str, Service], service: str, variables: str
) -> None:
    if service == "mosquitto":
        rules = (DOCKER / service / "acl").read_text()
        users = set(re.findall(r"^user (\w+)$", rules, re.MULTILINE))
    else:
        rights = json.loads((DOCKER / service / "definitions.json").read_text())
        users = {right["user"] for right in rights["permissions"]}
    assert users > {"tesp", "node", "agent"}
    start = (DOCKER / service / "start").read_text()
    for user in users:
        own = "" if user == "tesp" else f"_{user.upper()}"
        assert f"{variables}{own}_PASSWORD" in services[service]["environment"]
        assert f"user {user} " in start


def test_rabbitmq_is_published_with_passwords_of_ones_own_alone() -> None:
    argv = [*compose(), "-f", STACK, "-f", DOCKER / "rabbitmq" / "published.yaml"]
    own = {key: SECRETS[key] for key in ("RABBITMQ_PASSWORD", "RABBITMQ_PULSAR_PASSWORD")}
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    for given, code in (({}, 1), (own, 0)):
        done = subprocess.run(
            [*argv, "--env-file", ROOT / ".env.example", "--profile", "amqp", "config"],
            env={**kept, **given},
            capture_output=True,
            check=False,
            cwd=ROOT,
        )
        assert bool(done.returncode) == bool(code), done.stderr


def test_the_storage_that_can_be_switched_on_is_that_of_the_separate_stack(
    tmp_path: Path,
) -> None:
    switched = tmp_path / "settings.toml"
    switched.write_text(with_storage(SETTINGS.read_text()))
    (access,) = load(switched, {"TESP_ENV": "docker"}).staging.s3
    assert access.endpoint == "http://s3:9000"
    assert load(SETTINGS, {"TESP_ENV": "docker"}).staging.s3 == ()


def test_the_example_of_the_environment_names_every_variable_with_its_default() -> None:
    text = STACK.read_text() + TRANSFERS.read_text()
    used = {k: v for k, v in re.findall(r"\$\{(\w+):-([^}]*)\}", text) if k not in OF_TRANSFERS}
    example = re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert dict(example) == used | {"COMPOSE_PROFILES": ""}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user can enter; those of pytest are root's alone."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_root_is_given_up_for_good(open_directory: Path) -> None:
    look = 'id -u; id -G; grep CapBnd /proc/self/status; test -w "$OWN_DIRECTORY" && echo writable'
    told = {"RUN_AS": "1234:1235", "DOCKER_GID": "1236", "OWN_DIRECTORY": f"{open_directory}/own"}
    done = subprocess.run(
        [DOCKER / "handover", "sh", "-c", look],
        env={"PATH": os.environ["PATH"], **told},
        capture_output=True,
        check=False,
        text=True,
    )
    if os.geteuid() == 0:
        assert done.stdout.split() == ["1234", "1235", "1236", "CapBnd:", "0" * 16, "writable"]
    else:
        assert done.stdout.split()[0] == str(os.geteuid())
