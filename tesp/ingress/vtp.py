"""The VOEvent Transport Protocol: frames, and what is said around events. Pure."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from tesp.errors import MessageRefused
from tesp.ingress import voevent

HEADER_BYTES = 4
Role = Literal["iamalive", "authenticate", "ack", "nak"]
_NAMESPACE = "http://www.telescope-networks.org/xml/Transport/v1.1"
_LOCATION = (
    "http://telescope-networks.org/schema/Transport/v1.1 "
    "http://www.telescope-networks.org/schema/Transport-v1.1.xsd"
)
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}schemaLocation"
_ROLES: Sequence[Role] = ("iamalive", "authenticate", "ack", "nak")
_LONGEST_SAID = 500


@dataclass(frozen=True, slots=True)
class Transport:
    """What a peer says that is no event. `origin` is what is spoken of, `result` why not."""

    role: Role
    origin: str
    result: str | None = None


def frame(body: bytes) -> bytes:
    """A body behind its length."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def length(header: bytes, most: int) -> int:
    """The length of the body that follows; raises MessageRefused."""
    said = int.from_bytes(header, "big")
    if not 0 < said <= most:
        raise MessageRefused(f"the frame has {said} bytes; the most is {most}")
    return said


def written(
    role: Role,
    origin: str,
    now: float,
    *,
    response: str | None = None,
    result: str | None = None,
    filters: Sequence[str] = (),
) -> bytes:
    """What we say; `response` is who we are, where we answer."""
    root = ElementTree.Element(
        f"{{{_NAMESPACE}}}Transport", {"version": "1.0", _XSI: _LOCATION, "role": role}
    )
    ElementTree.SubElement(root, "Origin").text = origin
    if response is not None:
        ElementTree.SubElement(root, "Response").text = response
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ElementTree.SubElement(root, "TimeStamp").text = moment
    if result is not None or filters:
        meta = ElementTree.SubElement(root, "Meta")
        for one in filters:
            ElementTree.SubElement(meta, "Param", {"name": "xpath-filter", "value": one})
        if result is not None:
            ElementTree.SubElement(meta, "Result").text = _plain(result)
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))


def read(raw: bytes) -> Transport | None:
    """What a peer says; None where it is something else, an event; raises MessageRefused."""
    root = voevent.element(raw)
    if not str(root.tag).endswith("}Transport"):
        return None
    said = root.get("role", "")
    for role in _ROLES:
        if role == said:
            origin = (root.findtext("Origin") or "").strip()[:_LONGEST_SAID]
            result = root.findtext("Meta/Result")
            return Transport(role, origin, result and _plain(result))
    raise MessageRefused(f"nobody knows the role {said[:40]!r}")


def _plain(text: str) -> str:
    return "".join(sign for sign in text if sign.isprintable())[:_LONGEST_SAID]
