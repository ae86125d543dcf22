"""VOEvent 2.0: alerts of telescopes. XML to messages. Pure."""

import hashlib
import math
import re
import string
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from xml.etree.ElementTree import Element

import defusedxml.ElementTree as xml
from defusedxml import DefusedXmlException

from tesp.bus import Message, Value, tael
from tesp.bus.moments import seconds_of
from tesp.errors import MessageRefused

NAMESPACE = "http://www.ivoa.net/xml/VOEvent/v2.0"
ROLES = ("observation", "prediction", "utility", "test")
_ROOT = f"{{{NAMESPACE}}}VOEvent"
_CHILDREN = (
    "Who",
    "What",
    "WhereWhen",
    "How",
    "Why",
    "Citations",
    "Description",
    "Reference",
)
# What may stand in Who, and in What with its groups and tables.
_INSIDE = {
    "Who": ("AuthorIVORN", "Date", "Description", "Reference", "Author"),
    "What": ("Param", "Group", "Table", "Description", "Reference"),
    "Group": ("Param", "Description", "Reference"),
    "Param": ("Description", "Reference", "Value"),
}
_TYPES = ("string", "float", "int")
# As IVOA Identifiers has it: authority, resource, and the local id after the hash.
_IVORN = re.compile(
    r"ivo://[a-zA-Z0-9][\w\-.~*'()]{2,}(/[\w\-.~*'()/]*)?#?[\w\-.~*'()+=/%!$&,;:@?]*", re.ASCII
)
_LONGEST_IVORN = 255
_LONGEST_KEY = 100
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:voevent")
_FILE_SIGNS = frozenset(string.ascii_letters + string.digits + "_.")
_LONGEST_FILE_NAME = 200


@dataclass(frozen=True, slots=True)
class VOEvent:
    """What an event says, and the bytes that said it."""

    ivorn: str
    role: str
    author: str | None
    date: str | None
    params: Mapping[str, Value]
    raw: bytes

    @property
    def digest(self) -> str:
        """What tells the packet from others; the same event in other bytes is another one."""
        return hashlib.sha1(self.raw, usedforsecurity=False).hexdigest()


def parsed(raw: bytes) -> VOEvent:
    """An event, valid as far as VOEvent 2.0 is held to here; raises MessageRefused.

    Roles, versions, identifiers, which elements stand where and how often, and the types of
    parameters are checked; what astronomers say of times and places passes as it is.
    """
    root = element(raw)
    if root.tag != _ROOT or root.get("version") != "2.0":
        found, version = str(root.tag)[:100], root.get("version", "")[:20]
        raise MessageRefused(f"this is no VOEvent 2.0 ({_ROOT}) but {found}, version {version!r}")
    role = root.get("role", ROLES[0])
    if role not in ROLES:
        raise MessageRefused(f"the role {role[:40]!r} is none of {', '.join(ROLES)}")
    _once(root, _CHILDREN)
    who = root.find("Who")
    if who is not None:
        _once(who, _INSIDE["Who"])
    what = root.find("What")
    return VOEvent(
        ivorn=_ivorn(root.get("ivorn")),
        role=role,
        author=_text(root.findtext("Who/AuthorIVORN")),
        date=_date(root.findtext("Who/Date")),
        params={} if what is None else dict(_params(what)),
        raw=raw,
    )


def element(raw: bytes) -> Element:
    """The root of a document without DTD and entities; raises MessageRefused."""
    try:
        root: Element = xml.fromstring(raw, forbid_dtd=True)
    except DefusedXmlException as error:
        kind = type(error).__name__.removesuffix("Forbidden")
        raise MessageRefused(f"XML with DTD or entities is not taken ({kind})") from None
    # Unknown encodings are told by LookupError, impossible ones by ValueError.
    except (xml.ParseError, LookupError, ValueError) as error:
        raise MessageRefused(f"this is no XML: {error}") from None
    return root


def message(event: VOEvent, prefix: str, arrived: float) -> Message:
    """An event as a message; raises MessageRefused where it says more than a message can."""
    payload: dict[str, Value] = {
        "ivorn": event.ivorn,
        "role": event.role,
        "author": event.author,
        "time": event.date,
        **event.params,
        "status": "finished",
    }
    identifier = str(uuid.uuid5(_NAMESPACE, event.digest))
    topic = f"{prefix}/voevent/{event.role}/status"
    told = Message(topic, payload, identifier, seconds_of(event.date, arrived), identifier)
    tael.encode(told)
    return told


def file_name(ivorn: str) -> str:
    """The name under which Comet saves an event."""
    plain = ivorn.removeprefix(".").replace("/", "_").replace("\\", "_")
    name = "".join(sign for sign in plain if sign in _FILE_SIGNS)[:_LONGEST_FILE_NAME]
    return name if name.strip(".") else f"_{name}"


def _once(parent: Element, allowed: tuple[str, ...]) -> None:
    """Each of these at most once, and no others."""
    seen: set[str] = set()
    for child in parent:
        _known(parent, child, allowed)
        if child.tag in seen:
            raise MessageRefused(f"{_short(parent)} has more than one {child.tag}")
        seen.add(child.tag)


def _known(parent: Element, child: Element, allowed: tuple[str, ...]) -> None:
    if child.tag not in allowed:
        mend = "; only VOEvent stands in a namespace" if str(child.tag).startswith("{") else ""
        raise MessageRefused(f"{_short(parent)} has no element {str(child.tag)[:100]}{mend}")


def _short(one: Element) -> str:
    return str(one.tag).rpartition("}")[2][:40]


def _params(what: Element) -> Iterator[tuple[str, Value]]:
    """`param.<group>.<name>` and its value; what is called alike gets a number behind it."""
    taken: dict[str, int] = {}
    for group, param in _found(what):
        for child in param:
            _known(param, child, _INSIDE["Param"])
        names = ("param", group, param.get("name") or "unnamed")
        key = _key(".".join(name for name in names if name))
        taken[key] = taken.get(key, 0) + 1
        yield key if taken[key] == 1 else f"{key}.{taken[key]}", _value(param)


def _found(what: Element) -> Iterator[tuple[str | None, Element]]:
    for child in what:
        _known(what, child, _INSIDE["What"])
        if child.tag == "Param":
            yield None, child
        elif child.tag == "Group":
            for inner in child:
                _known(child, inner, _INSIDE["Group"])
                if inner.tag == "Param":
                    yield child.get("name"), inner


def _value(param: Element) -> Value:
    """The value as its type has it; as text where it does not fit or JSON cannot say it."""
    text = param.get("value")
    text = text if text is not None else param.findtext("Value")
    kind = param.get("dataType", _TYPES[0])
    if kind not in _TYPES:
        raise MessageRefused(f"the dataType {kind[:40]!r} is none of {', '.join(_TYPES)}")
    if text is None or kind == "string" or len(text) > 40:
        return text
    try:
        number = float(text)
        if kind == "int":
            whole = int(text)
            return whole if abs(whole) < 1 << 53 else text
        return number if math.isfinite(number) else text
    except ValueError:
        return text


def _ivorn(said: str | None) -> str:
    if not said or len(said) > _LONGEST_IVORN or not _IVORN.fullmatch(said):
        raise MessageRefused(f"{(said or '')[:80]!r} is no ivorn such as ivo://authority/key#id")
    return said


def _text(said: str | None) -> str | None:
    return said.strip()[:_LONGEST_IVORN] if said else None


def _key(name: str) -> str:
    return "".join(sign if sign.isprintable() else "_" for sign in name)[:_LONGEST_KEY]


def _date(said: str | None) -> str | None:
    if said is None:
        return None
    try:
        datetime.fromisoformat(said.strip())
    except ValueError:
        raise MessageRefused(f"the date {said[:40]!r} is no moment in ISO 8601") from None
    return said.strip()
