"""Messages to Prodiguer's mails, as the nodes of a computing centre send them. Pure."""

import base64
import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

import orjson

from tesp.bus import Message, Value, tael
from tesp.errors import MessageRefused
from tesp.ingress import attachments
from tesp.ingress.attachments import Attachment
from tesp.ingress.mail import (
    CODE,
    CORRELATION,
    HOPS,
    JOB,
    PRODUCER,
    SIMULATION,
    TIME,
    UID,
    VERSION,
)

_LONGEST_PLAIN_LINE = 990
_MOST_MESSAGES = 1000
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:simulation")
# What a message without a type is, by its status.
_CODES = {"started": "1000", "finished": "1100", "failed": "1999", "canceled": "1900"}
_GOES_ON = "1001"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes in one mail: lines, or one line and a file."""

    lines: Sequence[bytes]
    file: Attachment | None = None


def line(message: Message, producer: str, version: str) -> bytes:
    """A message as one line, without its end; raises MessageRefused."""
    tael.encode(message)
    cause = str(message.headers.get("correlation_id_1") or message.correlation)
    own: dict[str, Value] = {
        CODE: message.type or code_of(message.payload.get("status")),
        UID: message.id,
        PRODUCER: str(message.headers.get("producer_id") or producer),
        VERSION: str(message.headers.get("producer_version") or version),
        TIME: datetime.fromtimestamp(message.time, UTC).isoformat(),
        SIMULATION: simulation_of(cause),
        CORRELATION: message.correlation,
        HOPS: message.hops,
        JOB: message.headers.get("correlation_id_2") or message.payload.get("task") or "",
    }
    return base64.b64encode(orjson.dumps({**message.payload, **own}))


def batches(lines: Sequence[bytes], most_bytes: int) -> Iterator[list[bytes]]:
    """The lines in their order, in mails of at most so many bytes; raises MessageRefused."""
    batch: list[bytes] = []
    size = 0
    for one in lines:
        _check(len(one), most_bytes)
        if batch and (size + len(one) > most_bytes or len(batch) == _MOST_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one) + 2
    if batch:
        yield batch


def parcels(
    messages: Sequence[Message], producer: str, version: str, most_bytes: int
) -> Iterator[Parcel]:
    """The messages in their order; one with a file goes by itself. Raises MessageRefused."""
    plain: list[bytes] = []
    for message in messages:
        bare, file = _parted(message)
        one = line(bare, producer, version)
        if file is None:
            plain.append(one)
            continue
        _check(len(one) + len(file.data) * 4 // 3, most_bytes)
        yield from (Parcel(batch) for batch in batches(plain, most_bytes))
        plain = []
        yield Parcel([one], file)
    yield from (Parcel(batch) for batch in batches(plain, most_bytes))


def mail(parcel: Parcel, sender: str, recipient: str, time: float) -> EmailMessage:
    """One mail. Lines that are too long for SMTP go as quoted-printable, which parts them; a file
    goes as base64, which keeps its every byte."""
    one, lines = EmailMessage(), parcel.lines
    one["From"], one["To"] = sender, recipient
    one["Subject"] = f"tesp: {len(lines)} messages"
    one["Date"] = format_datetime(datetime.fromtimestamp(time, UTC))
    one["Message-ID"] = make_msgid(domain="tesp.invalid")
    is_long = any(len(line) > _LONGEST_PLAIN_LINE for line in lines)
    text = "".join(f"{line.decode()}\n" for line in lines)
    one.set_content(text, cte="quoted-printable" if is_long else "7bit")
    if (file := parcel.file) is not None:
        one.add_attachment(
            file.data, maintype="application", subtype="octet-stream", filename=file.name
        )
    return one


def _parted(message: Message) -> tuple[Message, Attachment | None]:
    """The message and the file that is in it, where its type has one."""
    key = attachments.KEYS.get(message.type or "")
    if key is None:
        return message, None
    payload, file = attachments.held(message.payload, key)
    return dataclasses.replace(message, payload=payload), file


def _check(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise MessageRefused(f"a message has {size} bytes; a mail takes {most_bytes}")


def code_of(status: Value) -> str:
    """The type of a message that says no other, by its status."""
    return _CODES.get(str(status), _GOES_ON)


def simulation_of(correlation: str) -> str:
    """Prodiguer's simuid: the correlation id where it is a UUID, else one made of it."""
    try:
        return str(uuid.UUID(correlation))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, correlation))
