"""Late tasks: those that run for longer than the site expects are told of, each once."""

import sqlite3
import time
import uuid
from dataclasses import dataclass, replace

from tesp.agents.notebook import say
from tesp.bus import MOST_HOPS, Message, Value, prodiguer, tael
from tesp.bus.prodiguer import Producer

APP = "superviseur"
_TYPE = "8000"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:late")
_LONGEST_ID = 64
_RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Supervision:
    """Works on the collector's notebook, a transaction a call."""

    prefix: str
    producer: Producer
    late_seconds: float

    def is_late(self, message: Message, now: float) -> bool:
        """Whether a message says of a task only now that it began, so long ago."""
        return message.payload.get("state") == _RUNNING and message.time < now - self.late_seconds

    def hear(self, db: sqlite3.Connection, message: Message, now: float) -> None:
        """A task's event: from RUNNING on its time counts, until anything else is said."""
        task, state = message.payload.get("task"), message.payload.get("state")
        if not isinstance(task, str) or not isinstance(state, str) or len(task) > _LONGEST_ID:
            return
        if state != _RUNNING:
            db.execute("DELETE FROM running WHERE task = ?", (task,))
        elif message.hops < MOST_HOPS:
            name, owner = (_text(message.payload.get(key)) for key in ("name", "owner"))
            started = min(message.time, now)
            db.execute(
                "INSERT OR IGNORE INTO running (task, name, owner, started, correlation, hops)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (task, name, owner, started, message.correlation, message.hops),
            )

    def tell(self, db: sqlite3.Connection, until: float, now: float) -> int:
        """Tell of those that were late by then, when we know of all that had ended; how many
        there are."""
        rows = db.execute(
            "SELECT task, name, owner, started, correlation, hops FROM running"
            " WHERE told = 0 AND started < ?",
            (until - self.late_seconds,),
        ).fetchall()
        for task, name, owner, started, correlation, hops in rows:
            said: dict[str, Value] = {
                "task": task,
                "name": name,
                "owner": owner,
                "running_seconds": round(now - started, 1),
                "limit": self.late_seconds,
            }
            say(db, self._message(said, started, correlation, hops))
            db.execute("UPDATE running SET told = 1 WHERE task = ?", (task,))
        return len(rows)

    def _message(
        self, said: dict[str, Value], started: float, correlation: str, hops: int
    ) -> Message:
        """Prodiguer's type 8000, on `{prefix}/infrastructure/late/NAME/status`."""
        task = str(said["task"])
        message = Message(
            f"{self.prefix}/infrastructure/late/{tael.who(_text(said['name']))}/status",
            {**said, "announce": True, "status": "late"},
            str(uuid.uuid5(_NAMESPACE, f"{task}/{started}")),
            time.time(),
            correlation,
            hops + 1,
        )
        return prodiguer.addressed(message, replace(self.producer, app=APP), _TYPE, task)


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None
