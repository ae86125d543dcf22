"""Prodiguer's mails: one base64(JSON) a line, with attachments beside. Bytes to messages. Pure."""

import base64
import binascii
import email.parser
import email.policy
import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from email.message import Message as Mail
from typing import Any

import orjson

from tesp.bus import Message, Value, prodiguer, tael
from tesp.bus.moments import seconds_of
from tesp.bus.prodiguer import Producer
from tesp.errors import MessageRefused
from tesp.ingress import attachments
from tesp.ingress.attachments import Attachment, plain_name

CODE, UID, PRODUCER, VERSION = "msgCode", "msgUID", "msgProducer", "msgProducerVersion"
TIME, SIMULATION, JOB = "msgTimestamp", "simuid", "jobuid"
# What messages of ours say beside that, so that one cause stays one, and what turns in a circle
# comes to an end.
MESSAGE, CORRELATION, HOPS = "message_id", "correlation_id", "hops"
_GOES_ON = "1001"
_MOST_PARTS = 40
_MOST_LINES = 10_000
_LONGEST_HEADER = 2000
_LONGEST_ID = 128
_APPS = {"7": "metrics", "8": "superviseur"}
_STATUSES = {"1": "finished", "9": "failed", "0": "started"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:mail")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


class MailRefused(MessageRefused):
    """The whole mail is no mail of ours; the sentence is for its sender."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A message that goes nowhere. `excluded`: the site wants none of that type."""

    reason: str
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """What is in a mail: `items` in its order; `remarks` are for its sender too."""

    id: str
    items: Sequence[Message | Dropped]
    remarks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """How the mails of a site are read."""

    prefix: str
    producer: Producer = field(default_factory=Producer)
    excluded: Set[str] = field(default_factory=frozenset)

    def opened(self, raw: bytes, arrived: float) -> Opened:
        """The messages of a mail; raises MailRefused."""
        mail = _parsed(raw)
        identifier = _identifier(mail, raw)
        body, attachments = _contents(mail)
        lines = [line for line in map(bytes.strip, body.splitlines()) if line]
        if not lines:
            raise MailRefused("The mail has no text: there must be one base64(JSON) a line.")
        if len(lines) > _MOST_LINES:
            raise MailRefused(f"The mail has {len(lines)} messages; the most is {_MOST_LINES}.")
        if attachments and len(lines) != 1:
            raise MailRefused(
                f"The mail has attachments and {len(lines)} messages: attachments go with one."
            )
        items = [self._item(line, identifier, arrived) for line in lines]
        if not attachments or isinstance(items[0], Dropped):
            return Opened(identifier, items)
        return _with_attachments(identifier, items[0], attachments)

    def _item(self, line: bytes, mail: str, arrived: float) -> Message | Dropped:
        try:
            fields = _fields(line)
            if fields.get(CODE) in self.excluded:
                return Dropped(f"messages of type {fields[CODE]} are not wanted here", True)
            return self.message(fields, mail, arrived)
        except MessageRefused as error:
            return Dropped(str(error))

    def message(self, fields: dict[str, Value], mail: str, arrived: float) -> Message:
        """What the fields of a line say; raises MessageRefused."""
        code, uid, simulation = (_text(fields, key) for key in (CODE, UID, SIMULATION))
        version = _text(fields, VERSION)
        if not _UUID.fullmatch(simulation):
            raise MessageRefused(f"{SIMULATION} is no UUID: {simulation[:40]!r}")
        app = _APPS.get(code[0], "monitoring")
        sender = str(fields.get(PRODUCER) or self.producer.producer)[:_LONGEST_ID]
        by = replace(self.producer, producer=_word(sender), app=app, version=version)
        by.key(code)  # Refuses a code that is none.
        own = {key: fields.pop(key, None) for key in (MESSAGE, CORRELATION, HOPS)}
        told = Message(
            topic=f"{self.prefix}/prodiguer/{tael.who(_word(sender))}/{code}/status",
            payload={**fields, "status": str(fields.get("status") or _status(code))},
            id=uid,
            time=seconds_of(fields.get(TIME), arrived),
            correlation=_printable(own[CORRELATION]) or simulation,
            hops=tael.hops_of(own[HOPS] or 0),
        )
        job = str(fields.get(JOB) or "")[:_LONGEST_ID]
        addressed = prodiguer.addressed(told, by, code, job)
        own_headers = {"producer_id": sender, "correlation_id_1": simulation, "email_id": mail}
        headers = {**addressed.headers, **own_headers}
        return _usable(replace(addressed, headers=headers))


def _with_attachments(mail: str, one: Message, files: Sequence[Attachment]) -> Opened:
    key = attachments.KEYS.get(one.type or "")
    if key is None:
        remark = f"what is attached is left out: type {one.type} takes none"
        return Opened(mail, [one], [remark])
    if len(files) > 1 and one.type != attachments.ONE_EACH:
        raise MailRefused(
            f"The mail has {len(files)} attachments: a message of type {one.type} takes one."
        )
    return Opened(mail, [_attached(one, key, file, i) for i, file in enumerate(files)])


def _attached(one: Message, key: str, file: Attachment, number: int) -> Message | Dropped:
    """The message with a file in it; each of several has an id made of the first one's."""
    identifier = one.id if number == 0 else str(uuid.uuid5(_NAMESPACE, f"{one.id}/{number}"))
    try:
        return _usable(
            replace(one, payload=attachments.holding(one.payload, key, file), id=identifier)
        )
    except MessageRefused as error:
        return Dropped(f"with the attachment {file.name}, {error}")


def _parsed(raw: bytes) -> Mail:
    count = 0

    def part(policy: Any = email.policy.compat32) -> Mail:
        nonlocal count
        count += 1
        if count > _MOST_PARTS:
            raise MailRefused(f"The mail has more than {_MOST_PARTS} parts.")
        return Mail(policy=policy)

    parser = email.parser.BytesFeedParser(part, policy=email.policy.compat32)
    # On the way each end of a line becomes CR LF. What must not be changed goes as base64, and
    # within quoted-printable as =0D=0A.
    parser.feed(raw.replace(b"\r\n", b"\n"))
    return parser.close()


def _contents(mail: Mail) -> tuple[bytes, list[Attachment]]:
    """The text, and what is attached to it."""
    text: bytes | None = None
    attachments: list[Attachment] = []
    for part in _leaves(mail):
        is_attached = part.get_content_disposition() == "attachment" or part.get_filename()
        data = part.get_payload(decode=True)
        if not isinstance(data, bytes):
            continue
        if is_attached:
            name = plain_name(part.get_filename() or f"attachment-{len(attachments) + 1}")
            attachments.append(Attachment(name, data))
        elif text is None and part.get_content_type() == "text/plain":
            text = data
    return text or b"", attachments


def _leaves(mail: Mail) -> Iterator[Mail]:
    for part in mail.walk():
        for name in ("Content-Type", "Content-Disposition", "Content-Transfer-Encoding"):
            if len(str(part.get(name, ""))) > _LONGEST_HEADER:
                raise MailRefused(f"A part of the mail has a {name} that nobody can mean.")
        if not part.is_multipart():
            yield part


def _fields(line: bytes) -> dict[str, Value]:
    """What a line says, flat: what is nested becomes the text of its JSON."""
    try:
        body = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raise MessageRefused("the line is no base64") from None
    if len(body) > tael.MOST_BYTES:
        raise MessageRefused(f"it has {len(body)} bytes; the most is {tael.MOST_BYTES}")
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MessageRefused(f"the line is no JSON: {error.msg}") from None
    if not isinstance(said, dict):
        raise MessageRefused("the line is no JSON object")
    return {key: flat(key, value) for key, value in said.items()}


def flat(key: str, value: Any) -> Value:
    """A value as a message may have it; raises MessageRefused."""
    if isinstance(value, str | int | float | bool | None):
        return value
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        raise MessageRefused(f"{key[:_LONGEST_ID]} is nested too deeply") from None


def _usable(message: Message) -> Message:
    """The message, where a broker could take it; raises MessageRefused."""
    tael.encode(message)
    return message


def _text(fields: dict[str, Value], key: str) -> str:
    value = fields.get(key)
    if value is None or value == "":
        raise MessageRefused(f"{key} is missing")
    text = _printable(str(value))
    if text is None:
        raise MessageRefused(f"{key} is no text of 1 to {_LONGEST_ID} printable signs")
    return text


def _printable(value: Value) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= _LONGEST_ID and value.isprintable()
    return str(value) if usable else None


def _status(code: str) -> str:
    """By the code: job and post-processing say how they do, all else is done when it is said."""
    if code == _GOES_ON:
        return "running"
    return _STATUSES[code[1]] if code[0] in "012" else "finished"


def _word(name: str) -> str:
    """A name as one word of a routing key."""
    return re.sub(r"[^a-z0-9_-]", "_", name.lower())[:32] or "_"


def _identifier(mail: Mail, raw: bytes) -> str:
    said = re.sub(r"[^!-~]", "", str(mail.get("Message-ID", "")))[:200]
    return said or f"<{hashlib.sha256(raw).hexdigest()[:32]}@no-id>"
