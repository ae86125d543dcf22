"""Whether the collector hears anything at all: it says something itself, and listens for it where
it listens to others. While it cannot hear itself, no node is silent for that, and no task late."""

import math
import time
import uuid
from datetime import UTC, datetime

from tesp.agents.metrics import samples
from tesp.bus import Message, Value


class Hearing:
    """What is known of one of our ears. `gap_seconds`: without a beat of ours for so long, it hears
    nothing. Ears of one collector have the same `ours`, and hear each other's beats."""

    def __init__(self, prefix: str, who: str, gap_seconds: float, ours: str | None = None) -> None:
        self.topic = samples.topic(prefix, who)
        self.ours = ours or str(uuid.uuid4())
        self._gap_seconds = gap_seconds
        self._last = -math.inf
        self._since = 0.0
        self._said = -math.inf

    def beat(self) -> Message:
        """What is to be said again and again."""
        now, name = time.time(), str(uuid.uuid4())
        said: dict[str, Value] = {
            "collector": self.ours,
            "time": datetime.fromtimestamp(now, UTC).isoformat(),
            "announce": False,
            "status": samples.LISTENING,
        }
        return Message(self.topic, said, name, now, name)

    def is_beat(self, message: Message, now: float) -> bool:
        """Whether a message is a collector's beat; one of ours is noted."""
        if message.payload.get("status") != samples.LISTENING:
            return False
        if message.payload.get("collector") == self.ours:
            if now - self._last > self._gap_seconds:
                self._since = now
            self._last, self._said = now, min(message.time, now)
        return True

    def begin_anew(self, now: float) -> None:
        """What was said long ago is heard only now: there may be more of it."""
        self._since = now

    def has_heard(self, now: float, seconds: float) -> bool:
        """Whether we have heard all that was said in so many seconds."""
        return now - self._last <= self._gap_seconds and now - self._since >= seconds

    def sure_until(self, now: float, seconds: float) -> float:
        """Until when we know of all that happened, where whoever can tell it does so within so many
        seconds. Of nothing, while we do not hear, or have only begun to."""
        return self._said - seconds if self.has_heard(now, seconds) else -math.inf
