"""The messages that people send."""

import getpass
import os
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesp.bus import Message, Value


def told(topic: str, attributes: "Mapping[str, Value]") -> "Message":
    """With the user and the time. Sent out of a listener's command, it has the correlation id of
    what started that, and one hop more."""
    from tesp.agents.environment import CORRELATION, HOPS
    from tesp.bus import Message

    name, now = str(uuid.uuid4()), time.time()
    said = attributes.get("ts")
    ts = said if isinstance(said, int | float) else int(now)
    payload: dict[str, Value] = {"user": user_name(), **attributes, "ts": ts}
    correlation, hops = os.environ.get(CORRELATION) or name, os.environ.get(HOPS, "")
    return Message(topic, payload, name, now, correlation, int(hops) + 1 if hops.isdigit() else 0)


def user_name() -> str:
    """The name of the person, or the account's number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
