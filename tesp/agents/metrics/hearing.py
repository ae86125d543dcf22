"""Whether the collector hears anything at all: it says something itself, and listens for it where
it listens to the nodes. While it cannot hear itself, no node is silent for that."""

import math
import time
import uuid

from tesp.agents.metrics import samples
from tesp.bus import Message, Value


class Hearing:
    """What is known of our own ears. `gap_seconds`: without a beat of ours for so long, we hear
    nothing."""

    def __init__(self, prefix: str, who: str, gap_seconds: float) -> None:
        self._topic = samples.topic(prefix, who)
        self._gap_seconds = gap_seconds
        self._ours = str(uuid.uuid4())
        self._last = -math.inf
        self._since = 0.0

    def beat(self) -> Message:
        """What is to be said again and again."""
        name = str(uuid.uuid4())
        said: dict[str, Value] = {
            "collector": self._ours,
            "announce": False,
            "status": samples.LISTENING,
        }
        return Message(self._topic, said, name, time.time(), name)

    def is_beat(self, message: Message, now: float) -> bool:
        """Whether a message is a collector's beat; one of ours is noted."""
        if message.payload.get("status") != samples.LISTENING:
            return False
        if message.payload.get("collector") == self._ours:
            if now - self._last > self._gap_seconds:
                self._since = now
            self._last = now
        return True

    def has_heard(self, now: float, seconds: float) -> bool:
        """Whether we have heard all that was said in so many seconds."""
        return now - self._last <= self._gap_seconds and now - self._since >= seconds
