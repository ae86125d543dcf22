"""Mails in Prodiguer's format: what is in them, and what hostile ones come to."""

import base64
import json
import time
import uuid
from email.message import EmailMessage
from typing import Any

import pytest

from tesp.bus import Message, tael
from tesp.errors import MessageRefused
from tesp.ingress import mail_writing
from tesp.ingress.attachments import Attachment, holding
from tesp.ingress.mail import Dropped, MailRefused, Opened, Reading
from tesp.ingress.mail_writing import Parcel

_SIMULATION = "5f0e1c9a-3f0d-4c3e-9a55-0b7f6a1f2d11"
_READING = Reading("tesp")


def fields(**more: Any) -> dict[str, Any]:
    return {
        "msgCode": "0000",
        "msgUID": str(uuid.uuid4()),
        "msgProducer": "libIGCM",
        "msgProducerVersion": "2.8.1",
        "msgTimestamp": "2015-04-13T09:30:00.123456",
        "simuid": _SIMULATION,
        "jobuid": "5f0e1c9a-3f0d-4c3e-9a55-0b7f6a1f2d12",
        **more,
    }


def line(**more: Any) -> bytes:
    return base64.b64encode(json.dumps(fields(**more)).encode())


def mail(*lines: bytes, attachments: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    one = EmailMessage()
    one["From"], one["To"], one["Message-ID"] = "node@hpc.example", "in@tes.example", "<m1@hpc>"
    one.set_content(b"\n".join([*lines, b""]).decode("latin-1"))
    for name, data in attachments:
        one.add_attachment(data, maintype="application", subtype="x-any", filename=name)
    return one.as_bytes()


def opened(raw: bytes, reading: Reading = _READING) -> Opened:
    return reading.opened(raw, 1000.0)


def only(raw: bytes) -> Message:
    (one,) = opened(raw).items
    assert isinstance(one, Message), one
    return one


def dropped(raw: bytes, reading: Reading = _READING) -> Dropped:
    (one,) = opened(raw, reading).items
    assert isinstance(one, Dropped)
    return one


def test_a_line_becomes_a_message_with_its_key_and_its_headers() -> None:
    one = only(mail(line(msgUID="m-1", experiment="historical")))
    assert one.id == "m-1"
    assert one.correlation == _SIMULATION
    assert one.key == "prod.tesp.libigcm.monitoring.0000"
    assert (one.type, one.hops) == ("0000", 0)
    assert one.topic == "tesp/prodiguer/libigcm/0000/status"
    assert one.payload["experiment"] == "historical"
    assert list(one.payload)[-1] == "status"
    assert one.payload["status"] == "started"
    assert one.time == pytest.approx(1428917400.123456)
    assert one.headers["producer_id"] == "libIGCM"
    assert one.headers["producer_version"] == "2.8.1"
    assert one.headers["correlation_id_1"] == _SIMULATION
    assert one.headers["correlation_id_2"] == "5f0e1c9a-3f0d-4c3e-9a55-0b7f6a1f2d12"
    assert one.headers["email_id"] == "<m1@hpc>"


@pytest.mark.parametrize(
    ("code", "status", "app"),
    [
        ("1000", "started", "monitoring"),
        ("1001", "running", "monitoring"),
        ("1100", "finished", "monitoring"),
        ("1999", "failed", "monitoring"),
        ("2900", "failed", "monitoring"),
        ("7011", "finished", "metrics"),
        ("8000", "finished", "superviseur"),
    ],
)
def test_the_code_says_how_it_does_and_which_application_it_is_for(
    code: str, status: str, app: str
) -> None:
    one = only(mail(line(msgCode=code)))
    assert one.payload["status"] == status
    assert one.key == f"prod.tesp.libigcm.{app}.{code}"


def test_messages_keep_the_order_of_their_lines() -> None:
    raw = mail(*(line(msgUID=f"m-{number}") for number in range(50)))
    ids = [one.id for one in opened(raw).items if isinstance(one, Message)]
    assert ids == [f"m-{number}" for number in range(50)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"msgProducerVersion": None}, "msgProducerVersion is missing"),
        ({"msgProducerVersion": ""}, "msgProducerVersion is missing"),
        ({"simuid": "none"}, "simuid is no UUID"),
        ({"simuid": None}, "simuid is missing"),
        ({"msgUID": None}, "msgUID is missing"),
        ({"msgUID": "a\nb"}, "printable"),
        ({"msgCode": "4711"}, "no type code"),
        ({"msgCode": None}, "msgCode is missing"),
        ({"a": "x" * tael.MOST_BYTES}, "bytes; the most is"),
        ({"": 1}, "no key"),
        ({"hops": -1}, "hops is no number"),
    ],
)
def test_what_is_no_message_is_dropped_with_its_reason(more: dict[str, Any], said: str) -> None:
    one = dropped(mail(line(**more)))
    assert said in one.reason
    assert not one.excluded


def test_a_type_that_the_site_excludes_is_dropped_and_called_so() -> None:
    reading = Reading("tesp", excluded=frozenset({"7000"}))
    assert dropped(mail(line(msgCode="7000")), reading).excluded


def test_what_is_dropped_takes_nothing_along() -> None:
    items = opened(mail(line(), b"!!", line(simuid="x"), line())).items
    assert [type(one) for one in items] == [Message, Dropped, Dropped, Message]


def test_what_is_nested_becomes_text() -> None:
    one = only(mail(line(config={"a": [1, 2]})))
    assert one.payload["config"] == '{"a":[1,2]}'


@pytest.mark.parametrize(("code", "key"), [("0000", "configuration"), ("7010", "data")])
def test_an_attachment_becomes_a_key_of_the_message(code: str, key: str) -> None:
    raw = mail(line(msgCode=code), attachments=(("../run.card", b"[UserChoices]\n"),))
    one = only(raw)
    assert one.payload[key] == "[UserChoices]\n"
    assert one.payload[f"{key}_name"] == "run.card"
    assert list(one.payload)[-1] == "status"


def test_each_metrics_file_becomes_a_message_of_its_own() -> None:
    files = (("a.json", b"{}"), ("b.bin", b"\xff\x00"), ("c.json", b"[]"))
    raw = mail(line(msgCode="7100", msgUID="m-1"), attachments=files)
    items = [one for one in opened(raw).items if isinstance(one, Message)]
    assert [one.payload["data_name"] for one in items] == ["a.json", "b.bin", "c.json"]
    assert [one.payload["data"] for one in items] == ["{}", "/wA=", "[]"]
    assert items[1].payload["data_encoding"] == "base64"
    assert items[0].id == "m-1"
    assert len({one.id for one in items}) == 3
    again = [one.id for one in opened(raw).items if isinstance(one, Message)]
    assert again == [one.id for one in items]


def test_attachments_go_with_exactly_one_message() -> None:
    with pytest.raises(MailRefused, match="2 messages: attachments go with one"):
        opened(mail(line(), line(), attachments=(("a", b"1"),)))


def test_a_simulation_has_one_configuration() -> None:
    with pytest.raises(MailRefused, match="takes one"):
        opened(mail(line(), attachments=(("a", b"1"), ("b", b"2"))))


def test_an_attachment_that_its_type_does_not_take_is_told_of() -> None:
    one = opened(mail(line(msgCode="1000"), attachments=(("a", b"1"),)))
    assert len(one.items) == 1
    assert one.remarks == ["what is attached is left out: type 1000 takes none"]


def test_an_attachment_that_no_message_can_carry_is_dropped() -> None:
    raw = mail(line(), attachments=(("big", b"x" * tael.MOST_BYTES),))
    assert "with the attachment big" in dropped(raw).reason


def test_a_line_of_a_megabyte_is_dropped_and_the_next_one_is_not() -> None:
    items = opened(mail(b"A" * (1 << 20), line(msgUID="next"))).items
    assert isinstance(items[0], Dropped)
    assert isinstance(items[1], Message)
    assert items[1].id == "next"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_json_of_depth_10_000_is_dropped(opening: bytes) -> None:
    assert dropped(mail(base64.b64encode(opening * 10_000))).reason
    closed = opening * 10_000 + b"1" + (b"]" if opening == b"[" else b"}") * 10_000
    assert dropped(mail(base64.b64encode(closed))).reason


def test_json_that_can_be_read_and_not_be_written_is_dropped() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    assert "nested too deeply" in dropped(mail(line(config=deep))).reason


@pytest.mark.parametrize("line", [b"====", b"e30", b"not base64 at all", b"\xff\xfe", b"bnVsbA=="])
def test_what_is_no_base64_of_an_object_is_dropped(line: bytes) -> None:
    assert dropped(b"Subject: x\r\n\r\n" + line + b"\r\n").reason


def test_binary_noise_is_dropped_or_refused() -> None:
    noise = bytes(range(256)) * 200
    for raw in (noise, b"\r\n\r\n" + noise, b"Content-Type: \xff/\xfe\r\n\r\n" + noise):
        try:
            assert all(isinstance(one, Dropped) for one in opened(raw).items)
        except MailRefused as error:
            assert "mail" in str(error)


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"Subject: hello\r\n\r\n", b"Subject: no body"])
def test_a_mail_without_text_is_refused(raw: bytes) -> None:
    with pytest.raises(MailRefused, match="no text"):
        opened(raw)


def _nested(depth: int) -> bytes:
    head = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (i, i)
        for i in range(depth)
    )
    return head + b"\r\nhello\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        _nested(5000),
        b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--b\r\n\r\n" * 200_000,
        b"Content-Type: message/rfc822\r\n\r\n" * 5000,
    ],
    ids=["nested", "many", "mails-in-mails"],
)
def test_a_mime_bomb_is_refused(raw: bytes) -> None:
    with pytest.raises(MailRefused, match="parts"):
        opened(raw)


@pytest.mark.parametrize("name", ["Content-Type", "Content-Disposition"])
def test_a_header_that_nobody_can_mean_is_refused(name: str) -> None:
    value = 'text/plain; a="' + '";a="' * 100_000
    with pytest.raises(MailRefused, match=name):
        opened(f"{name}: {value}\r\n\r\nhello".encode())


def test_more_lines_than_messages_may_be_are_refused() -> None:
    with pytest.raises(MailRefused, match="the most is"):
        opened(b"\r\n" + b"e30=\r\n" * 10_001)


def told(**more: Any) -> Message:
    body = {"status": "finished", "task": "t-1", "note": "grüße", **more}
    return tael.decode("a/b/status", json.dumps(body).encode(), time.time())


def test_what_is_written_is_read_again() -> None:
    said = told(correlation_id="one cause", hops=3)
    raw = mail_writing.mail(
        Parcel([mail_writing.line(said, "tesp", "1")]), "a@b", "c@d", 0.0
    ).as_bytes()
    one = only(raw)
    assert one.id == said.id
    assert (one.correlation, one.hops) == ("one cause", 3)
    assert one.type == "1100"
    assert one.payload["note"] == "grüße"
    assert one.payload["status"] == "finished"
    assert one.headers["correlation_id_2"] == "t-1"


def test_long_messages_survive_the_limits_of_mail() -> None:
    written = mail_writing.line(told(text="x" * 100_000), "tesp", "1")
    raw = mail_writing.mail(Parcel([written, written]), "a@b", "c@d", 0.0).as_bytes()
    assert max(map(len, raw.splitlines())) < 998
    assert [one.payload["text"] for one in opened(raw).items if isinstance(one, Message)] == [
        "x" * 100_000
    ] * 2


def test_batches_keep_the_order_and_the_limit() -> None:
    lines = [b"%04d" % number for number in range(100)]
    batches = list(mail_writing.batches(lines, 60))
    assert [one for batch in batches for one in batch] == lines
    assert len(batches) == 10
    with pytest.raises(MessageRefused, match="a mail takes 3"):
        list(mail_writing.batches(lines, 3))


def test_a_message_with_a_file_goes_by_itself_and_is_bounded_too() -> None:
    payload = holding({"status": "finished"}, "configuration", Attachment("x", b"1" * 900))
    file = Message("t", payload, "id", 0.0, "c", type="0000")
    messages = [told(), told(), file, told()]
    parcels = list(mail_writing.parcels(messages, "tesp", "1", 2000))
    assert [(len(one.lines), bool(one.file)) for one in parcels] == [(2, 0), (1, 1), (1, 0)]
    with pytest.raises(MessageRefused, match="a mail takes 1000"):
        list(mail_writing.parcels(messages, "tesp", "1", 1000))
