"""`tesp doctor` on real Pulsars and brokers, those that work and those that do not."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.doctor import Doctor, entries, verdicts
from tests.peers.http_server import HttpServer
from tests.peers.pulsar import TOKEN, PulsarServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import Room, free_port, wait_until
from tests.peers.server_fixtures import StartServer

_QUEUED = {"type": "queued_python"}


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


@pytest.fixture(scope="module")
def pulsar(rabbitmq: RabbitmqServer) -> Iterator[PulsarServer]:
    """A Pulsar over REST and AMQP, with a manager and so with queues of its own names."""
    with Room.temporary() as room:
        app = {"managers": {"doctor": _QUEUED}, "message_queue_url": rabbitmq.url}
        server = PulsarServer.made(room, **app).started()
        wait_until(lambda: rabbitmq.consumers("pulsar_doctor__setup"), "it takes jobs")
        yield server


def over_rest(pulsar: PulsarServer, **keys: Any) -> dict[str, Any]:
    manager = {} if "classes" in keys else {"manager": "doctor"}
    return {"name": "site", "url": pulsar.url, "token": pulsar.token, **manager, **keys}


def test_a_pulsar_that_takes_our_token_is_well(doctor: Doctor, pulsar: PulsarServer) -> None:
    code, found = doctor.examine(pulsars=entries(over_rest(pulsar)))
    assert code == 0
    assert found["pulsar site"]["verdict"] == "ok"
    assert found["pulsar site"]["found"] == f"{pulsar.url}, version 0.16.0"
    assert "public url" not in found


def test_a_wrong_token_is_named_by_its_key_and_not_shown(
    doctor: Doctor, pulsar: PulsarServer
) -> None:
    right, wrong = over_rest(pulsar), over_rest(pulsar, name="other", token="a-wrong-secret")
    code, found = doctor.examine(pulsars=entries(right, wrong))
    assert code == 6
    assert found["pulsar site"]["verdict"] == "ok"
    assert found["pulsar other"]["verdict"] == "fail"
    assert "pulsars.1.token (TESP_PULSARS__1__TOKEN)" in found["pulsar other"]["mend"]
    assert "a-wrong-secret" not in json.dumps(found)
    assert TOKEN not in json.dumps(found)


def test_a_manager_that_the_pulsar_does_not_have_is_named(
    doctor: Doctor, pulsar: PulsarServer
) -> None:
    sizes = [{"manager": m, "cpus": 1, "ram_gb": 1} for m in ("doctor", "nobody")]
    code, found = doctor.examine(pulsars=json.dumps([over_rest(pulsar, classes=sizes)]))
    assert code == 6
    assert "no manager nobody" in found["pulsar site"]["found"]
    assert "pulsars.0.classes" in found["pulsar site"]["mend"]


def test_a_pulsar_that_is_not_there_fails(doctor: Doctor) -> None:
    code, found = doctor.examine(
        pulsars=entries({"name": "gone", "url": f"http://127.0.0.1:{free_port()}"})
    )
    assert code == 6
    assert "cannot be reached" in found["pulsar gone"]["found"]
    assert "pulsars.0.url" in found["pulsar gone"]["mend"]


def test_another_server_is_not_taken_for_a_pulsar(doctor: Doctor, http_server: HttpServer) -> None:
    code, found = doctor.examine(pulsars=entries({"name": "web", "url": http_server.url}))
    assert code == 6
    assert "no Pulsar" in found["pulsar web"]["found"]


def over_amqp(url: str, **keys: Any) -> dict[str, Any]:
    return {"name": "site", "amqp_url": url, **keys}


def test_a_pulsar_that_listens_to_its_broker_is_well(
    doctor: Doctor, pulsar: PulsarServer, rabbitmq: RabbitmqServer
) -> None:
    both = over_rest(pulsar, amqp_url=rabbitmq.url)
    code, found = doctor.examine(pulsars=entries(both))
    names = ["pulsar site", "broker of site", "pulsar site over AMQP"]
    assert verdicts(found, names) == dict.fromkeys(names, "ok")
    assert code == 0


def test_a_queue_that_nobody_listens_to_is_named(doctor: Doctor, rabbitmq: RabbitmqServer) -> None:
    code, found = doctor.examine(pulsars=entries(over_amqp(rabbitmq.url, manager="nobody")))
    assert code == 6
    assert found["broker of site"]["verdict"] == "ok"
    assert "pulsar_nobody__setup" in found["pulsar site over AMQP"]["found"]
    assert "message_queue_url" in found["pulsar site over AMQP"]["mend"]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("guest:a-wrong-secret@127.0.0.1:{port}//", "the login of guest is refused"),
        ("guest:guest@127.0.0.1:{port}/elsewhere", "no entry to the virtual host elsewhere"),
        ("guest:guest@127.0.0.1:1//", "127.0.0.1 cannot be reached"),
    ],
)
def test_a_broker_that_does_not_let_us_in_is_told_why(
    doctor: Doctor, rabbitmq: RabbitmqServer, place: str, said: str
) -> None:
    url = "amqp://" + place.format(port=rabbitmq.port)
    code, found = doctor.examine(pulsars=entries(over_amqp(url)))
    assert code == 6
    assert said in found["broker of site"]["found"]
    assert "pulsars.0.amqp_url" in found["broker of site"]["mend"]
    assert "a-wrong-secret" not in json.dumps(found)


def test_who_fetches_files_from_us_must_reach_us(
    doctor: Doctor, start_server: StartServer, http_server: HttpServer
) -> None:
    node = entries({"name": "site", "url": f"http://127.0.0.1:{free_port()}", "staging": "node"})
    _, found = doctor.examine(pulsars=node)
    assert found["public url"]["verdict"] == "warn"
    assert "server.public_url" in found["public url"]["mend"]
    for url, verdict in (
        (start_server().url, "ok"),
        (f"http://127.0.0.1:{free_port()}", "warn"),
        (http_server.url, "warn"),
    ):
        _, found = doctor.examine(pulsars=node, server__public_url=url)
        assert found["public url"]["verdict"] == verdict, url
