"""Many messages at once: a file, or the standard input, of one JSON object a line; and the files
that go beside messages by mail."""

import dataclasses
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tesp.cli.bus.messages import told
from tesp.errors import MessageRefused, SettingsError

if TYPE_CHECKING:
    from tesp.bus import Message, Value
    from tesp.settings import Settings

_STANDARD_INPUT = "-"


def objects(batch: str) -> list[dict[str, Any]]:
    """The objects of a batch; raises SettingsError, which names the line."""
    import orjson

    found = []
    for number, line in _lines(batch):
        try:
            one = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise SettingsError(f"--batch: line {number} is no JSON: {error.msg}") from None
        if not isinstance(one, dict):
            raise SettingsError(f"--batch: line {number} is no JSON object")
        found.append(one)
    if not found:
        raise SettingsError("--batch: there is nothing in it")
    return found


def _lines(batch: str) -> Iterator[tuple[int, bytes]]:
    try:
        whole = sys.stdin.buffer.read() if batch == _STANDARD_INPUT else Path(batch).read_bytes()
    except OSError as error:
        raise SettingsError(f"--batch: {batch}: {error.strerror}") from None
    for number, line in enumerate(whole.split(b"\n"), 1):
        if line.strip():
            yield number, line


def published(topic: str, fields: "Sequence[Mapping[str, Value]]") -> "list[Message]":
    """Messages for a broker."""
    return [told(topic, one) for one in fields]


def mailed(
    fields: Sequence[Mapping[str, Any]], files: Sequence[Path], settings: "Settings"
) -> "list[Message]":
    """Messages for a mail: what Prodiguer's fields do not say is made up. One that the other end
    would drop is refused here; the sentence says which."""
    messages = []
    for number, one in enumerate(fields, 1):
        try:
            messages.append(_mailed(one, settings))
        except MessageRefused as error:
            raise MessageRefused(f"message {number}: {error}") from error
    return _with_files(messages, files) if files else messages


def _mailed(fields: Mapping[str, Any], settings: "Settings") -> "Message":
    from tesp import __version__
    from tesp.ingress import mail_writing
    from tesp.ingress.mail import Reading, flat

    base = told("mail", {key: flat(key, value) for key, value in fields.items()})
    simulation = fields.get("simuid") or mail_writing.simulation_of(base.correlation)
    made_up: dict[str, Value] = {
        "msgCode": mail_writing.code_of(base.payload.get("status")),
        "msgUID": base.id,
        "msgProducer": settings.bus.producer,
        "msgProducerVersion": __version__,
        "correlation_id": base.correlation if base.correlation != base.id else simulation,
        "hops": base.hops,
    }
    reading = Reading(settings.bus.prefix)
    return reading.message({**made_up, **base.payload, "simuid": simulation}, "", time.time())


def _with_files(messages: "Sequence[Message]", files: Sequence[Path]) -> "list[Message]":
    from tesp.ingress import attachments

    if len(messages) != 1:
        raise SettingsError("--attach: a file goes beside one message, and these are several")
    (one,) = messages
    key = attachments.KEYS.get(one.type or "")
    if key is None:
        there = ", ".join(attachments.KEYS)
        raise SettingsError(f"--attach: type {one.type} takes no file; --attr msgCode of {there}")
    if len(files) > 1 and one.type != attachments.ONE_EACH:
        raise SettingsError(f"--attach: type {one.type} takes one file")
    return [_holding(one, key, file, number) for number, file in enumerate(files)]


def _holding(one: "Message", key: str, file: Path, number: int) -> "Message":
    from tesp.ingress import attachments

    try:
        data = file.read_bytes()
    except OSError as error:
        raise SettingsError(f"--attach: {file}: {error.strerror}") from None
    attached = attachments.Attachment(attachments.plain_name(file.name), data)
    payload = attachments.holding(one.payload, key, attached)
    identifier = one.id if number == 0 else str(uuid.uuid4())
    return dataclasses.replace(one, payload=payload, id=identifier)
