"""Messages to Prodiguer's mails, as the nodes of a computing centre send them. Pure."""

import base64
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid

import orjson

from tesp.bus import Message, Value, tael
from tesp.errors import MessageRefused
from tesp.ingress.mail import (
    ATTACHMENTS,
    CODE,
    CORRELATION,
    HOPS,
    JOB,
    PRODUCER,
    SIMULATION,
    TIME,
    UID,
    VERSION,
    Attachment,
)

_LONGEST_PLAIN_LINE = 990
_MOST_MESSAGES = 1000
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:simulation")
# What a message without a type is, by its status.
_CODES = {"started": "1000", "finished": "1100", "failed": "1999", "canceled": "1900"}
_GOES_ON = "1001"


def line(message: Message, producer: str, version: str) -> bytes:
    """A message as one line, without its end; raises MessageRefused."""
    tael.encode(message)
    own: dict[str, Value] = {
        CODE: message.type or _CODES.get(str(message.payload.get("status")), _GOES_ON),
        UID: message.id,
        PRODUCER: str(message.headers.get("producer_id") or producer),
        VERSION: str(message.headers.get("producer_version") or version),
        TIME: datetime.fromtimestamp(message.time, UTC).isoformat(),
        SIMULATION: _simulation(message.correlation),
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
        if len(one) > most_bytes:
            raise MessageRefused(f"a message has {len(one)} bytes; a mail takes {most_bytes}")
        if batch and (size + len(one) > most_bytes or len(batch) == _MOST_MESSAGES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one) + 2
    if batch:
        yield batch


def mail(
    lines: Sequence[bytes],
    sender: str,
    recipient: str,
    time: float,
    attachments: Sequence[Attachment] = (),
) -> EmailMessage:
    """One mail. Lines that are too long for SMTP go as quoted-printable, which parts them."""
    if attachments and len(lines) != 1:
        raise MessageRefused("attachments go with exactly one message")
    one = EmailMessage()
    one["From"], one["To"] = sender, recipient
    one["Subject"] = f"tesp: {len(lines)} messages"
    one["Date"] = format_datetime(datetime.fromtimestamp(time, UTC))
    one["Message-ID"] = make_msgid(domain="tesp.invalid")
    is_long = any(len(line) > _LONGEST_PLAIN_LINE for line in lines)
    text = "".join(f"{line.decode()}\n" for line in lines)
    one.set_content(text, cte="quoted-printable" if is_long else "7bit")
    for file in attachments:
        one.add_attachment(
            file.data, maintype="application", subtype="octet-stream", filename=file.name
        )
    return one


def takes_attachments(message: Message) -> bool:
    """Whether a file may go beside it."""
    return message.type in ATTACHMENTS


def _simulation(correlation: str) -> str:
    """The correlation id where it is a UUID, else one made of it."""
    try:
        return str(uuid.UUID(correlation))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, correlation))
