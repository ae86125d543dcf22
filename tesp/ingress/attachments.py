"""The files beside Prodiguer's messages: in a mail attachments, in a message a part of it. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tesp.bus import Value

# Where the attachment of a message of this type goes.
KEYS = {"0000": "configuration", "7010": "data", "7100": "data"}
# Of this type there may be several, each with a message of its own.
ONE_EACH = "7100"
_LONGEST_NAME = 128


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file beside a message."""

    name: str
    data: bytes


def holding(payload: Mapping[str, Value], key: str, file: Attachment) -> dict[str, Value]:
    """A payload with a file in it, under this key: as text where it is any, else as base64."""
    told = {k: v for k, v in payload.items() if k != "status"}
    try:
        told[key] = file.data.decode()
    except UnicodeDecodeError:
        told[key] = base64.b64encode(file.data).decode()
        told[f"{key}_encoding"] = "base64"
    told[f"{key}_name"] = file.name
    return told | {k: v for k, v in payload.items() if k == "status"}


def held(payload: Mapping[str, Value], key: str) -> tuple[dict[str, Value], Attachment | None]:
    """The same taken apart again: what is beside the file, and the file, where there is one."""
    own = (key, f"{key}_name", f"{key}_encoding")
    content, name, encoding = (payload.get(one) for one in own)
    if not isinstance(content, str) or not isinstance(name, str):
        return dict(payload), None
    try:
        data = base64.b64decode(content) if encoding == "base64" else content.encode()
    except (binascii.Error, UnicodeEncodeError):
        return dict(payload), None
    return {k: v for k, v in payload.items() if k not in own}, Attachment(name, data)


def plain_name(name: str) -> str:
    """The name of a file, without its way there."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(sign for sign in last if sign.isprintable())[:_LONGEST_NAME] or "attachment"
