"""What messages are on AMQP, by recorded ones; and what is none."""

import base64
import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.bus import Message, prodiguer, tael
from tesp.bus.prodiguer import Envelope, Producer
from tesp.errors import MessageRefused
from tesp.events import Event
from tesp.tes.states import State

ARRIVED = 1600000000.0
PRODUCER = Producer("test", "sam", "ipsl", "monitoring", "1.2")
TOLD = b'{"status": "started"}'


def event(state: State, correlation: str = "", hops: int = 0) -> Event:
    moment = 1594900201.25
    return Event("t-1", 2, state, moment, "sam", 1, "elan", correlation=correlation, hops=hops)


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.QUEUED, "0000"),
        (State.RUNNING, "1000"),
        (State.INITIALIZING, "1001"),
        (State.CANCELING, "1001"),
        (State.COMPLETE, "1100"),
        (State.EXECUTOR_ERROR, "1999"),
        (State.SYSTEM_ERROR, "1999"),
        (State.PREEMPTED, "1999"),
        (State.CANCELED, "1900"),
    ],
)
def test_a_state_has_its_type_code(state: State, code: str) -> None:
    message = prodiguer.message(event(state), "tesp", PRODUCER)
    assert message.type == code
    assert message.key == f"test.sam.ipsl.monitoring.{code}"


def test_every_state_has_a_code_and_every_code_is_known() -> None:
    assert set(prodiguer.CODES) == set(State)
    assert set(prodiguer.CODES.values()) <= set(prodiguer.TYPES)


def test_a_key_is_lower_case() -> None:
    assert Producer("Prod", "Sam", "IPSL", "monitoring").key("1100") == (
        "prod.sam.ipsl.monitoring.1100"
    )


def test_the_first_key_is_prodiguers_and_on_the_exchange_of_mqtt_the_topic() -> None:
    message = prodiguer.message(event(State.RUNNING), "COGUK", PRODUCER)
    key, topic = "test.sam.ipsl.monitoring.1000", "COGUK.infrastructure.pipelines.elan.status"
    ours = prodiguer.enveloped(message)
    assert (ours.key, ours.also) == (key, (topic,))
    mqtts = prodiguer.enveloped(message, prodiguer.MQTT_EXCHANGE)
    assert (mqtts.key, mqtts.also) == (topic, (key,))
    bare = prodiguer.enveloped(dataclasses.replace(message, key=None, type=None))
    assert (bare.key, bare.also, bare.type) == (topic, (), None)


@given(st.sampled_from(State), st.integers(0, 9), st.sampled_from(["x-primary", "amq.topic"]))
def test_what_is_sent_is_what_comes(state: State, hops: int, exchange: str) -> None:
    sent = prodiguer.message(event(state, correlation="a-cause", hops=hops), "tesp", PRODUCER)
    assert prodiguer.opened(prodiguer.enveloped(sent, exchange), ARRIVED) == sent


def test_a_message_of_another_producer_is_understood() -> None:
    recorded = Envelope(
        body=base64.b64encode(b'{"jobuid": "7c5f", "msgCode": "1000"}'),
        key="prod.dcugnet.ipsl.monitoring.1000",
        type="1000",
        app_id="monitoring",
        message_id="1b2c",
        timestamp=1594900201,
        content_type="application/base64+json",
        headers={
            "producer_id": "libIGCM",
            "correlation_id_1": "the-simulation",
            "email_id": 5,
            "x-death": [{"count": 1}],
        },
    )
    assert prodiguer.opened(recorded, ARRIVED) == Message(
        topic="prod/dcugnet/ipsl/monitoring/1000",
        payload={"jobuid": "7c5f", "msgCode": "1000"},
        id="1b2c",
        time=1594900201.0,
        correlation="the-simulation",
        key="prod.dcugnet.ipsl.monitoring.1000",
        type="1000",
        headers={
            "producer_id": "libIGCM",
            "correlation_id_1": "the-simulation",
            "email_id": 5,
        },
    )


def test_a_message_without_any_properties_has_an_id_of_topic_and_body() -> None:
    message = prodiguer.opened(Envelope(TOLD, "a.status", content_type=None), ARRIVED)
    assert message.id == message.correlation == tael.decode("a/status", TOLD, ARRIVED).id
    assert (message.topic, message.key, message.type) == ("a/status", None, None)
    assert message.time == ARRIVED


@pytest.mark.parametrize(
    ("envelope", "reason"),
    [
        (Envelope(TOLD, "a", type="4711"), "'4711' is no type code"),
        (Envelope(TOLD, "prod.u.p.monitoring.4711"), "'4711' is no type code"),
        (Envelope(TOLD, "a", content_type="application/base64"), "no base64"),
        (Envelope(b"\xff\xfe", "a"), "no JSON"),
        (Envelope(TOLD, "a", headers={"hops": "many"}), "hops is no number"),
        (Envelope(TOLD, "a", headers={"topic": "a/#"}), "the topic"),
        (Envelope(TOLD, ""), "a topic has"),
    ],
)
def test_what_is_no_message_is_refused_with_a_reason(envelope: Envelope, reason: str) -> None:
    with pytest.raises(MessageRefused, match=reason):
        prodiguer.opened(envelope, ARRIVED)


def test_what_amqp_cannot_carry_is_refused() -> None:
    long = Message("x" * 300, {}, "i", 1.0, "c")
    with pytest.raises(MessageRefused, match="255 bytes"):
        prodiguer.enveloped(long)
    unknown = Message("x", {}, "i", 1.0, "c", key="a.b.c.monitoring.4711", type="4711")
    with pytest.raises(MessageRefused, match="no type code"):
        prodiguer.enveloped(unknown)


KEY = "prod.tesp.tesp.monitoring.1100"
SAMPLE, METRIC = "prod.tesp.tesp.metrics.7000", "a.b.infrastructure.metrics.node1.status"
STATUS, ORDER = "tesp.infrastructure.pipelines.n.status", "tesp.infrastructure.pipelines.n.control"


@pytest.mark.parametrize(
    ("key", "topic"),
    [
        (KEY, STATUS),
        (KEY, "site.elan.status"),
        (SAMPLE, METRIC),
        ("prod.tesp.tesp.monitoring.2100", "tesp.infrastructure.publications.n.status"),
        ("prod.tesp.tesp.monitoring.2999", "tesp.infrastructure.publications.n.status"),
        ("prod.tesp.tesp.superviseur.8000", "tesp.infrastructure.late.n.status"),
        (SAMPLE, "tesp.prodiguer.libigcm.7000.status"),
    ],
)
def test_a_key_and_a_topic_that_go_together_are_both_believed(key: str, topic: str) -> None:
    assert prodiguer.believed(key, [topic]) == (key, topic)
    assert prodiguer.believed(topic, [key]) == (topic, key)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        (SAMPLE, STATUS),
        (SAMPLE, ORDER),
        (SAMPLE, "site.elan.status"),
        (SAMPLE, "tesp.infrastructure.alarms.node1.status"),
        (SAMPLE, "tesp.prodiguer.libigcm.1100.status"),
        (SAMPLE, KEY),
        ("prod.tesp.tesp.superviseur.8000", STATUS),
        ("prod.tesp.tesp.monitoring.2100", METRIC),
        (KEY, METRIC),
        (KEY, "tesp.infrastructure.metrics.a\nb.status"),
        (KEY, "tesp.infrastructure.vocabulary.status"),
        (KEY, "tesp.agents.night.alert"),
        (METRIC, STATUS),
    ],
)
def test_who_may_say_what_agents_say_says_nothing_else_beside_it(key: str, other: str) -> None:
    assert prodiguer.believed(key, [other]) == (key,)
    assert prodiguer.believed(other, [key]) == (other,)


@given(st.binary(), st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.integers()))
def test_no_envelope_does_worse_than_to_be_refused(
    body: bytes, key: str, type_code: str, headers: dict[str, object]
) -> None:
    try:
        message = prodiguer.opened(Envelope(body, key, type=type_code, headers=headers), ARRIVED)
        assert re.fullmatch(r"\d{4}", message.type or "0000")
    except MessageRefused:
        pass
