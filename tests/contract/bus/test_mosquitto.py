"""What is Mosquitto's own: its clients at the other end, rights, TLS, retained messages."""

import asyncio
import uuid
from typing import Any

import orjson
import pytest

from tesp.bus import prodiguer
from tesp.bus.mqtt import MqttBus
from tesp.errors import BusRefused, BusUnavailable, MessageRefused
from tesp.events import Event
from tesp.settings import BrokerSettings
from tesp.tes.states import State
from tests.contract.bus.harness import Site, take
from tests.peers.mosquitto import NARROW, PASSWORD, USER, MosquittoServer


def at(mosquitto: MosquittoServer, url: str = "", **settings: Any) -> Site:
    broker = BrokerSettings(name="mosquitto", url=url or mosquitto.url, **settings)
    return Site("mosquitto", broker, f"r{uuid.uuid4().hex}")


async def test_an_event_of_a_task_arrives_at_mosquitto_sub_as_tael_has_it(
    mosquitto: MosquittoServer,
) -> None:
    name = f"elan-{uuid.uuid4().hex}"
    event = Event("task-1", 3, State.COMPLETE, 1594900201.5, "sam", 1, name)
    message = prodiguer.message(event, "COGUK", prodiguer.Producer())
    topic = f"COGUK/infrastructure/pipelines/{name}/status"
    with mosquitto.listening(topic, 1) as listening:
        async with at(mosquitto).opened() as bus:
            await bus.publish([message])
        (line,) = await asyncio.to_thread(listening.lines)
    came_on, _, body = line.partition(" ")
    payload = orjson.loads(body)
    assert came_on == topic
    assert list(payload)[-1] == "status"
    assert {k: payload[k] for k in ("task", "state", "ts", "message_id", "hops", "status")} == {
        "task": "task-1",
        "state": "COMPLETE",
        "ts": 1594900201,
        "message_id": event.id,
        "hops": 0,
        "status": "finished",
    }


async def test_what_mosquitto_pub_sends_has_an_id_of_its_topic_and_body(
    mosquitto: MosquittoServer,
) -> None:
    here = at(mosquitto)
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        for below in ("a", "a", "b"):
            await here.send_raw(below, b'{"date": "20200716", "status": "finished"}')
        first, again, elsewhere = [d.message for d in await take(deliveries, 3)]
    assert first.payload == {"date": "20200716", "status": "finished"}
    assert first.correlation == first.id == again.id != elsewhere.id
    assert first.hops == 0


async def test_messages_of_quality_zero_come_too(mosquitto: MosquittoServer) -> None:
    here = at(mosquitto)
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        mosquitto.send(f"{here.root}/a", '{"n": 1}', "-q", "0")
        mosquitto.send(f"{here.root}/a", '{"n": 2}', "-q", "2")
        assert [d.message.payload["n"] for d in await take(deliveries, 2)] == [1, 2]


async def test_a_message_that_was_kept_from_before_is_marked(mosquitto: MosquittoServer) -> None:
    here = at(mosquitto)
    mosquitto.send(f"{here.root}/a", '{"status": "finished"}', "--retain")
    async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        mosquitto.send(f"{here.root}/b", '{"status": "finished"}')
        came = await take(deliveries, 2)
    assert [(d.message.topic[-1], d.retained) for d in came] == [("a", True), ("b", False)]


async def test_only_a_broker_that_the_settings_trust_vouches_for_senders(
    mosquitto: MosquittoServer,
) -> None:
    for trusted in (False, True):
        here = at(mosquitto, trusted=trusted)
        async with here.opened() as bus, bus.subscribe(f"{here.root}/#") as deliveries:
            await bus.publish([here.message()])
            assert [d.trusted for d in await take(deliveries, 1)] == [trusted]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_user_with_his_password_is_let_in_and_no_other(
    mosquitto: MosquittoServer, version: str
) -> None:
    here = at(mosquitto, mosquitto.guarded_url, version=version)
    async with here.opened(username=USER, password=PASSWORD) as bus:
        await bus.publish([here.message()])
    for wrong in ({}, {"username": USER, "password": "wrong"}):
        async with here.opened(**wrong) as bus:
            with pytest.raises(BusRefused, match="see username, password"):
                await bus.publish([here.message()])
            with pytest.raises(BusRefused, match="see username, password"):
                async with bus.subscribe("#"):
                    pass


async def test_a_topic_that_is_not_permitted_is_refused_and_others_are_not(
    mosquitto: MosquittoServer,
) -> None:
    here = at(mosquitto, mosquitto.guarded_url, version="5", username=NARROW, password=PASSWORD)
    async with here.opened() as bus:
        with pytest.raises(MessageRefused, match=f"on {here.root}/a.*permits the user {NARROW}"):
            await bus.publish([here.message()])
        here.root = NARROW
        await bus.publish([here.message()])


async def test_a_broker_that_hangs_up_before_it_answers_is_not_waited_for(
    mosquitto: MosquittoServer,
) -> None:
    # Where TLS is spoken, it makes nothing of MQTT.
    here = at(mosquitto, f"mqtt://127.0.0.1:{mosquitto.tls_port}")
    async with here.opened() as bus:
        with pytest.raises(BusUnavailable, match="it hung up before it let us in"):
            await bus.publish([here.message()])


async def test_a_certificate_has_to_be_trusted(mosquitto: MosquittoServer) -> None:
    here = at(mosquitto, mosquitto.tls_url)
    async with here.opened() as bus:
        with pytest.raises(BusRefused, match="see ca_file"):
            await bus.publish([here.message()])
    trusting = {"ca_file": mosquitto.certificate}
    async with here.opened(**trusting) as bus, bus.subscribe(f"{here.root}/#") as deliveries:
        sent = here.message()
        await bus.publish([sent])
        assert [d.message.id for d in await take(deliveries, 1)] == [sent.id]
    async with here.opened(ca_file=mosquitto.certificate.with_name("none")) as bus:
        with pytest.raises(BusRefused, match="none"):
            await bus.publish([sent])


async def test_nothing_of_a_bus_stays_behind(mosquitto: MosquittoServer) -> None:
    here = at(mosquitto)
    bus = here.bus()
    assert isinstance(bus, MqttBus)
    async with bus.subscribe(f"{here.root}/#"):
        await bus.publish([here.message()])
    await bus.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=30)
    assert [task for task in others if not task.done()] == []
