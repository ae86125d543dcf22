"""Letters: messages from agent to agent, as text of one line or on the bus. Pure."""

import re
import shlex
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tesp.bus import Message, Value, tael
from tesp.errors import MessageRefused

MOST_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
# What a letter says of itself in JSON.
_MESSAGE, _SECRET = "message", "secret"


@dataclass(frozen=True, slots=True)
class Letter:
    """`name` says which method of the agent takes it. `correlation` is shared by all that follows
    from one cause; `trusted`: a broker or a secret vouches for its sender."""

    name: str
    fields: Mapping[str, Value] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    correlation: str = ""
    hops: int = 0
    trusted: bool = False


def written(text: str, fields: Mapping[str, Value]) -> Letter:
    """A letter of `name key=value ...` and more fields; raises MessageRefused."""
    try:
        name, *words = shlex.split(text)
    except ValueError:
        raise MessageRefused("a letter is `name key=value ...`, quoted as in a shell") from None
    pairs = [word.partition("=") for word in words]
    if wrong := [key for key, sign, _ in pairs if not (key and sign)]:
        raise MessageRefused(f"{wrong[0][:100]!r} is no key=value")
    return Letter(_checked(name), {**{key: value for key, _, value in pairs}, **fields})


def line_of(letter: Letter, secret: str | None) -> bytes:
    """The letter as a line of JSON; raises MessageRefused."""
    said = {_MESSAGE: _checked(letter.name), **({_SECRET: secret} if secret else {})}
    whole = replace(letter, fields={**letter.fields, **said})
    body = tael.encode(message_of(whole, _MESSAGE))
    if len(body) >= MOST_BYTES:
        raise MessageRefused(f"a letter has {MOST_BYTES} bytes at most")
    return body + b"\n"


def read(line: bytes) -> tuple[Letter, str | None]:
    """A letter out of a line, JSON or `name key=value ...`, and the secret that it says."""
    if not line.lstrip().startswith(b"{"):
        try:
            letter = written(line.decode(), {})
        except UnicodeDecodeError:
            raise MessageRefused("a letter is text in UTF-8") from None
        fields = dict(letter.fields)
        secret = fields.pop(_SECRET, None)
        return Letter(letter.name, fields), _text(secret)
    message = tael.decode(_MESSAGE, line, time.time())
    fields = dict(message.payload)
    name, secret = _checked(fields.pop(_MESSAGE, None)), fields.pop(_SECRET, None)
    return Letter(name, fields, message.id, message.correlation, message.hops), _text(secret)


def message_of(letter: Letter, topic: str) -> Message:
    """The letter on the bus."""
    correlation = letter.correlation or letter.id
    return Message(topic, letter.fields, letter.id, time.time(), correlation, letter.hops)


def letter_of(message: Message, trusted: bool) -> Letter:
    """What the bus brought: the topic's last level is the letter's name."""
    name = _checked(message.topic.rpartition("/")[2])
    return Letter(name, message.payload, message.id, message.correlation, message.hops, trusted)


def _text(secret: Value) -> str | None:
    return secret if isinstance(secret, str) else None


def _checked(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise MessageRefused("a letter's name has letters, digits, _ and -, 64 at the most")
    return name
