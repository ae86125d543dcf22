"""`tesp doctor` on the brokers of the bus, those that take our events and those that do not."""

import asyncio
import json
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import ChannelNotFoundEntity

from tesp.bus import Message, brokers
from tesp.settings import BrokerSettings
from tests.peers.cutting_proxy import CuttingProxy
from tests.peers.doctor import Doctor, Finding, entries, verdicts
from tests.peers.guarded_brokers import GuardedMosquitto, GuardedRabbitmq, password_of
from tests.peers.mosquitto import NARROW, PASSWORD, USER, MosquittoServer
from tests.peers.rabbitmq import RabbitmqServer
from tests.peers.room import free_port, wait_until

_MACHINES_OWN = "/etc/ssl/certs/ca-certificates.crt"
_GUEST = {"username": "guest", "password": "guest"}
_BOB = {"username": NARROW, "password": PASSWORD}
Broker = dict[str, Any]


@pytest.fixture
def doctor(tmp_path: Path) -> Doctor:
    return Doctor(tmp_path)


def amqp(rabbitmq: RabbitmqServer, vhost: str = "", **keys: Any) -> Broker:
    return {"url": f"amqp://127.0.0.1:{rabbitmq.port}/{vhost}", **keys}


def look(doctor: Doctor, *given: Broker, **variables: str) -> tuple[int, dict[str, Finding]]:
    """The findings, where the brokers are called by their numbers."""
    named = ({"name": f"b{number}", **broker} for number, broker in enumerate(given))
    return doctor.examine(bus__brokers=entries(*named), **variables)


def test_brokers_that_take_our_events_are_well(
    doctor: Doctor, mosquitto: MosquittoServer, rabbitmq: RabbitmqServer
) -> None:
    alice = {"url": mosquitto.guarded_url, "username": USER, "password": PASSWORD}
    given = (
        {"url": mosquitto.url},
        alice,
        {**alice, "version": "5"},
        {"url": mosquitto.tls_url, "ca_file": str(mosquitto.certificate)},
        amqp(rabbitmq),
        {"url": f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}", **_GUEST},
        {"url": f"amqps://127.0.0.1:{rabbitmq.tls_port}", "ca_file": str(rabbitmq.certificate)},
    )
    code, found = look(doctor, *given)
    names = [f"broker b{number}" for number in range(len(given))]
    assert verdicts(found, names) == dict.fromkeys(names, "ok"), found
    assert code == 0
    assert f"as {USER}" in found["broker b1"]["found"]
    assert "without a login" in found["broker b0"]["found"]


def test_the_user_of_the_service_is_let_in_by_the_brokers_of_docker(
    doctor: Doctor, guarded_mosquitto: GuardedMosquitto, guarded_rabbitmq: GuardedRabbitmq
) -> None:
    login = {"username": "tesp", "password": password_of("tesp")}
    given = (
        {"url": f"mqtt://127.0.0.1:{guarded_mosquitto.port}", **login},
        {"url": f"mqtt://127.0.0.1:{guarded_rabbitmq.mqtt_port}", **login},
        amqp(guarded_rabbitmq, "tesp", **login),
        amqp(guarded_rabbitmq, "tesp", **login, exchange="amq.topic"),
    )
    code, found = look(doctor, *given)
    names = [f"broker b{number}" for number in range(len(given))]
    assert verdicts(found, names) == dict.fromkeys(names, "ok"), found
    assert code == 0


def test_without_brokers_there_is_nothing_to_look_at(doctor: Doctor) -> None:
    _, found = doctor.examine()
    assert not [what for what in found if what.startswith("broker")]


def test_each_broker_that_does_not_let_us_in_is_told_why_and_holds_up_no_other(
    doctor: Doctor, mosquitto: MosquittoServer, rabbitmq: RabbitmqServer
) -> None:
    closed, wrong = free_port(), {"username": USER, "password": "a-wrong-secret"}
    tls_port = rabbitmq.tls_port
    given: list[tuple[Broker, str, str]] = [
        ({"url": f"mqtt://127.0.0.1:{closed}"}, "out of reach", "url"),
        ({"url": f"amqp://127.0.0.1:{closed}"}, "out of reach", "url"),
        ({"url": f"mqtt://127.0.0.1:{mosquitto.tls_port}"}, "it hung up", "url"),
        (
            {"url": f"mqtt://127.0.0.1:{mosquitto.tls_port}", "version": "5"},
            "it hung up",
            "version",
        ),
        ({"url": f"amqps://127.0.0.1:{rabbitmq.port}"}, "no TLS with it", "url"),
        (amqp(rabbitmq, "elsewhere"), "virtual host", "url"),
        ({"url": mosquitto.guarded_url, **wrong}, f"refuses the user {USER}", "password"),
        (
            {"url": mosquitto.guarded_url, **wrong, "version": "5"},
            f"refuses the user {USER}",
            "password",
        ),
        (amqp(rabbitmq, **wrong), f"refuses the user {USER}", "password"),
        ({"url": mosquitto.tls_url, "ca_file": _MACHINES_OWN}, "not trusted", "ca_file"),
        ({"url": mosquitto.tls_url}, "not trusted", "ca_file"),
        ({"url": mosquitto.tls_url, "ca_file": "/nowhere"}, "no PEM", "ca_file"),
        (
            {"url": f"amqps://127.0.0.1:{tls_port}", "ca_file": _MACHINES_OWN},
            "not trusted",
            "ca_file",
        ),
        ({"url": f"amqps://127.0.0.1:{tls_port}", "ca_file": "/nowhere"}, "no PEM", "ca_file"),
        ({"url": mosquitto.url}, "takes what we publish", ""),
    ]
    code, found = look(doctor, *(broker for broker, _, _ in given))
    assert code == 6
    for number, (broker, said, field) in enumerate(given):
        finding = found[f"broker b{number}"]
        assert finding["verdict"] == ("fail" if field else "ok"), broker
        assert said in finding["found"], broker
        assert (f"bus.brokers.{number}.{field}" if field else "") in finding["mend"], broker
    assert "TESP_BUS__BROKERS__6__PASSWORD" in found["broker b6"]["mend"]
    assert "a-wrong-secret" not in json.dumps(found)


def test_who_may_not_publish_events_is_told_which_right_he_lacks(
    doctor: Doctor, mosquitto: MosquittoServer, rabbitmq: RabbitmqServer
) -> None:
    absent = f"x-{uuid.uuid4().hex}"
    over_mqtt = (
        {"url": mosquitto.guarded_url, **_BOB},
        {"url": mosquitto.guarded_url, **_BOB, "version": "5"},
        {"url": f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}", **_BOB},
    )
    over_amqp = (
        amqp(rabbitmq, **_BOB, exchange="amq.topic"),
        amqp(rabbitmq, **_BOB, exchange=absent),
    )
    code, found = look(doctor, *over_mqtt, *over_amqp, bus__prefix="site/a")
    assert code == 6
    for number in range(len(over_mqtt) + len(over_amqp)):
        finding = found[f"broker b{number}"]
        assert finding["verdict"] == "fail"
        assert f"Let {NARROW} write to" in finding["mend"]
        assert f"bus.brokers.{number}.username" in finding["mend"]
    assert "site/a/infrastructure/pipelines/+/status" in found["broker b0"]["mend"]
    assert "exchange amq.topic" in found["broker b3"]["mend"]
    assert f"exchange '{absent}'" in found["broker b4"]["found"]
    assert "permit" in found["broker b2"]["found"]


@pytest.mark.parametrize("user", ["pipeline", "operator", "watcher"])
def test_who_may_write_other_topics_of_an_exchange_may_not_publish_events(
    doctor: Doctor,
    guarded_mosquitto: GuardedMosquitto,
    guarded_rabbitmq: GuardedRabbitmq,
    user: str,
) -> None:
    login = {"username": user, "password": password_of(user)}
    code, found = look(
        doctor,
        {"url": f"mqtt://127.0.0.1:{guarded_mosquitto.port}", **login},
        amqp(guarded_rabbitmq, "tesp", **login),
        amqp(guarded_rabbitmq, "tesp", **login, exchange="amq.topic"),
    )
    names = ["broker b0", "broker b1", "broker b2"]
    assert verdicts(found, names) == dict.fromkeys(names, "fail"), found
    assert code == 6


def test_all_brokers_are_asked_at_once(doctor: Doctor, mosquitto: MosquittoServer) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(1) as thread:
        proxies = [stack.enter_context(CuttingProxy(mosquitto.port, "mqtt")) for _ in range(3)]
        for proxy in proxies:
            proxy.stall()
        examining = thread.submit(look, doctor, *({"url": proxy.url} for proxy in proxies))
        # None is answered before all have been asked.
        wait_until(lambda: all(proxy.connections for proxy in proxies), "all are asked")
        for proxy in proxies:
            proxy.resume()
        code, found = examining.result()
    names = ["broker b0", "broker b1", "broker b2"]
    assert verdicts(found, names) == dict.fromkeys(names, "ok"), found
    assert code == 0


def test_a_broker_that_says_nothing_is_not_waited_for(
    doctor: Doctor, mosquitto: MosquittoServer, rabbitmq: RabbitmqServer
) -> None:
    to_ports = (mosquitto.port, mosquitto.tls_port, rabbitmq.port, rabbitmq.tls_port)
    schemes = ("mqtt", "mqtts", "amqp", "amqps")
    with ExitStack() as stack:
        silent = [
            stack.enter_context(CuttingProxy(port, scheme))
            for port, scheme in zip(to_ports, schemes, strict=True)
        ]
        for proxy in silent:
            proxy.stall()
        code, found = look(doctor, {"url": mosquitto.url}, *({"url": p.url} for p in silent))
    assert code == 6
    assert found["broker b0"]["verdict"] == "ok"
    for number, proxy in enumerate(silent, 1):
        finding = found[f"broker b{number}"]
        assert finding["verdict"] == "fail"
        assert f"127.0.0.1:{proxy.port}" in finding["found"]
        assert f"bus.brokers.{number}.url" in finding["mend"]


def of_rabbitmq(
    rabbitmq: RabbitmqServer, work: Callable[[AbstractChannel], Coroutine[Any, Any, Any]]
) -> Any:
    """What a client with a channel of its own finds."""

    async def asked() -> Any:
        async with await aio_pika.connect(rabbitmq.url) as connection:
            return await work(await connection.channel())

    return asyncio.run(asked())


def has(rabbitmq: RabbitmqServer, exchange: str = "", queue: str = "") -> bool:
    async def work(channel: AbstractChannel) -> bool:
        try:
            if exchange:
                await channel.get_exchange(exchange, ensure=True)
            else:
                await channel.declare_queue(queue, passive=True)
        except ChannelNotFoundEntity:
            return False
        return True

    return bool(of_rabbitmq(rabbitmq, work))


def test_no_exchange_and_no_queue_is_left_behind(doctor: Doctor, rabbitmq: RabbitmqServer) -> None:
    name = f"x-{uuid.uuid4().hex}"
    kept = {"client_id": name, **_GUEST}
    code, found = look(
        doctor,
        amqp(rabbitmq, exchange=name, **kept),
        {"url": f"mqtt://127.0.0.1:{rabbitmq.mqtt_port}", **kept},
    )
    assert code == 0, found
    assert not has(rabbitmq, exchange=name)
    for queue in (name, f"mqtt-subscription-{name}qos0", f"mqtt-subscription-{name}qos1"):
        assert not has(rabbitmq, queue=queue)


def test_an_exchange_that_is_there_stays(doctor: Doctor, rabbitmq: RabbitmqServer) -> None:
    name = f"x-{uuid.uuid4().hex}"
    of_rabbitmq(rabbitmq, lambda channel: channel.declare_exchange(name, durable=True))
    code, found = look(doctor, amqp(rabbitmq, exchange=name))
    assert code == 0, found
    assert has(rabbitmq, exchange=name)


def test_nobody_gets_a_message_over_amqp(
    doctor: Doctor, rabbitmq: RabbitmqServer, prefix: str
) -> None:
    async def work(channel: AbstractChannel) -> bytes:
        exchange = await channel.declare_exchange(prefix, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "#")
        code, found = await asyncio.to_thread(look, doctor, amqp(rabbitmq, exchange=prefix))
        assert code == 0, found
        await exchange.publish(aio_pika.Message(b"the first"), "any")
        return (await queue.get(timeout=30, no_ack=True)).body

    assert of_rabbitmq(rabbitmq, work) == b"the first"


async def test_to_listeners_of_mqtt_it_is_no_message(
    doctor: Doctor, mosquitto: MosquittoServer, prefix: str
) -> None:
    bus = brokers.one(BrokerSettings(name="listener", url=mosquitto.url))
    later = Message(f"{prefix}/a", {"status": "finished"}, prefix, 1e9, prefix)
    with mosquitto.listening(f"{prefix}/#", 2) as others:
        async with bus.subscribe(f"{prefix}/#") as deliveries:
            given = {"url": mosquitto.url}
            code, found = await asyncio.to_thread(look, doctor, given, bus__prefix=prefix)
            assert code == 0, found
            await bus.publish([later])
            assert (await anext(deliveries)).message.id == later.id
        (said, _) = await asyncio.to_thread(others.lines)
    await bus.close()
    topic, _, body = said.partition(" ")
    assert "test" in topic
    assert json.loads(body)["status"] == "unknown"
