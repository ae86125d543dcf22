"""What messages are on MQTT, by recorded ones; and what is none."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.bus import Message, filters, tael
from tesp.errors import MessageRefused
from tesp.events import Event
from tesp.tes.states import State

ARRIVED = 1600000000.0
TOPIC = "COGUK/infrastructure/pipelines/elan/status"
# The beacon of the document, and what the original clients emit.
BEACON = b'{"date": "20200716", "status": "finished", "time": "115001"}'
ANNOUNCED = (
    b'{"announce": true, "return_code": 1, "time_elapsed": "0:00:02", "status": "failed", '
    b'"ts": 1594900201}'
)


def event(state: State, **changes: object) -> Event:
    said = {"name": "elan", "reason": None, **changes}
    return Event("t-1", 2, state, 1594900201.25, "sam", 1, **said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.COMPLETE, "finished"),
        (State.EXECUTOR_ERROR, "failed"),
        (State.SYSTEM_ERROR, "failed"),
        (State.PREEMPTED, "failed"),
        (State.CANCELED, "canceled"),
        (State.RUNNING, "started"),
        (State.QUEUED, "queued"),
        (State.INITIALIZING, "initializing"),
        (State.CANCELING, "canceling"),
    ],
)
def test_a_state_has_its_status_as_the_last_key(state: State, status: str) -> None:
    message = tael.message(event(state, reason="so it is"), "COGUK")
    body = tael.encode(message)
    assert message.topic == TOPIC
    assert list(orjson.loads(body).items()) == [
        ("task", "t-1"),
        ("state", state.value),
        ("name", "elan"),
        ("owner", "sam"),
        ("attempt", 1),
        ("reason", "so it is"),
        ("time", "2020-07-16T11:50:01.250000+00:00"),
        ("ts", 1594900201),
        ("message_id", event(state).id),
        ("correlation_id", message.correlation),
        ("hops", 0),
        ("status", status),
    ]


def test_every_state_has_a_status() -> None:
    assert set(tael.STATUSES) == set(State)


def test_all_events_of_a_task_share_one_correlation_unless_they_have_a_cause() -> None:
    one, other = tael.message(event(State.RUNNING), "p"), tael.message(event(State.COMPLETE), "p")
    assert one.correlation == other.correlation
    caused = tael.message(event(State.RUNNING, correlation="cause", hops=4), "p")
    assert (caused.correlation, caused.hops) == ("cause", 4)


@pytest.mark.parametrize(
    ("name", "who"),
    [
        (None, "tasks"),
        ("", "tasks"),
        ("elan", "elan"),
        ("a/b+c#d.e*f", "a_b_c_d_e_f"),
        ("two words", "two_words".replace("_", " ")),
        ("a\nb\0\u2028\ufffe", "a_b___"),
        ("é" * 100, "é" * 50),
    ],
)
def test_a_name_is_made_safe_for_a_topic(name: str | None, who: str) -> None:
    assert tael.who(name) == who
    filters.checked_topic(tael.status_topic("p", name))


def test_a_very_long_reason_does_not_stop_an_event() -> None:
    message = tael.message(event(State.SYSTEM_ERROR, reason="x" * 10**6, name="y" * 10**6), "p")
    assert len(tael.encode(message)) < 10_000


def test_the_beacon_of_the_document_is_understood() -> None:
    message = tael.decode("COGUK/test/beacon/status", BEACON, ARRIVED)
    assert message.payload == {"date": "20200716", "status": "finished", "time": "115001"}
    assert message.time == ARRIVED
    assert message.correlation == message.id
    assert message.hops == 0


def test_what_the_original_clients_announce_is_understood() -> None:
    message = tael.decode(TOPIC, ANNOUNCED, ARRIVED)
    assert message.payload["return_code"] == 1
    assert message.time == 1594900201.0


def test_the_same_body_on_the_same_topic_has_the_same_id() -> None:
    one, again = (tael.decode(TOPIC, BEACON, arrived) for arrived in (1.0, 2.0))
    assert one.id == again.id
    assert one.id != tael.decode(f"{TOPIC}x", BEACON, 1.0).id
    assert one.id != tael.decode(TOPIC, ANNOUNCED, 1.0).id


_KEYS = st.from_regex(r"[A-Za-z_]{1,20}", fullmatch=True).filter(
    lambda key: key not in ("message_id", "correlation_id", "hops", "ts", "time")
)
_VALUES = (
    st.text(st.characters(codec="utf-8"))
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.dictionaries(_KEYS, _VALUES))
def test_what_is_sent_is_what_comes(payload: dict[str, str]) -> None:
    sent = Message("a/b", {**payload, "ts": 5}, "an-id", 5.0, "a-cause", 7)
    assert tael.decode("a/b", tael.encode(sent), ARRIVED) == sent


HOSTILE = {
    "binary noise": (bytes(range(256)), "no JSON"),
    "nothing": (b"", "no JSON"),
    "depth": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "no JSON"),
    "size": (b'{"a":"' + b"x" * 1_000_000 + b'"}', "bytes; the most is"),
    "a list": (b"[1]", "no JSON object"),
    "a number": (b"5", "no JSON object"),
    "nested": (b'{"a": {"b": 1}}', "not flat: a is an object"),
    "a list within": (b'{"a": [1]}', "not flat: a is a list"),
    "hops of text": (b'{"hops": "1"}', "hops is no number"),
    "hops of truth": (b'{"hops": true}', "hops is no number"),
    "hops backwards": (b'{"hops": -1}', "hops is no number"),
    "an id of another type": (b'{"message_id": 5}', "message_id is no string"),
    "a long id": (b'{"correlation_id": "%s"}' % (b"x" * 300), "correlation_id is no string"),
    "an empty key": (b'{"": 1}', "is no key"),
    "a long key": (b'{"%s": 1}' % (b"x" * 200), "is no key"),
    "a key of control signs": (b'{"a\\n": 1}', "is no key"),
    "many keys": (orjson.dumps({str(n): n for n in range(2000)}), "2000 keys"),
    "NaN": (b'{"a": NaN}', "no JSON"),
}


@pytest.mark.parametrize(("body", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_message_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MessageRefused, match=reason):
        tael.decode(TOPIC, body, ARRIVED)


@given(st.binary())
def test_no_body_does_worse_than_to_be_refused(body: bytes) -> None:
    with contextlib.suppress(MessageRefused):
        tael.decode(TOPIC, body, ARRIVED)


def test_a_key_called_path_is_a_key_like_others() -> None:
    assert tael.decode(TOPIC, b'{"PATH": "/tmp"}', ARRIVED).payload == {"PATH": "/tmp"}


@pytest.mark.parametrize("ts", [b"1e400", b"-5", b"0", b"99999999999999", b'"soon"', b"null"])
def test_a_time_that_is_none_is_the_time_of_arrival(ts: bytes) -> None:
    try:
        assert tael.decode(TOPIC, b'{"ts": %s}' % ts, ARRIVED).time == ARRIVED
    except MessageRefused:
        assert ts == b"1e400"
