"""What notes say. Names and reasons are others' words, and stay within one line. Pure."""

import uuid
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tesp.agents.notifications import Note
from tesp.events import Event
from tesp.tes.states import State

_LONGEST_NAME = 80
_LONGEST_REASON = 2000
_SHORT_NAME, _SHORT_REASON = 30, 200
# So much of a text is looked at, however long it is.
_LOOKED_AT = 10_000
_MOST_LINES = 20
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:tesp:notes")
_TASKS = "/ga4gh/tes/v1/tasks"


@dataclass(slots=True)
class Digest:
    """Many events, in bounded memory: how many of which state, and the first of them."""

    first: Event
    last: Event
    states: Counter[State] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """One more."""
        self.states[event.state] += 1
        self.last = event
        if len(self.events) < _MOST_LINES:
            self.events.append(event)


@dataclass(frozen=True, slots=True)
class Writing:
    """How notes are written; `url` is where people reach the service, where that is known."""

    url: str | None = None

    def note(self, event: Event) -> Note:
        """About one event."""
        name, reason = one_line(event.name, _LONGEST_NAME), one_line(event.reason, _LONGEST_REASON)
        facts = {
            "Task": event.task,
            "Name": name,
            "State": event.state.value,
            "Reason": reason,
            "When": _moment(event.time),
            "Owner": one_line(event.owner, _LONGEST_NAME),
            "Attempt": str(event.attempt) if event.attempt > 1 else "",
            "See": f"{self.url}{_TASKS}/{event.task}?view=FULL" if self.url else "",
        }
        return Note(
            id=event.id,
            time=event.time,
            subject=f"tesp: {event.state.value}: {name or event.task}",
            text="".join(f"{key}: {value}\n" for key, value in facts.items() if value),
            short=_short(event),
        )

    def summary(self, digest: Digest) -> Note:
        """About many events: one alone is told as it is."""
        count = digest.states.total()
        if count == 1:
            return self.note(digest.first)
        counts = ", ".join(f"{number} {state}" for state, number in digest.states.most_common())
        period = f"from {_moment(digest.first.time)} to {_moment(digest.last.time)}"
        left = count - len(digest.events)
        lines = [f"{count} changes of tasks, {period}: {counts}.", "", *map(_line, digest.events)]
        lines += [f"and {left} more"] if left else []
        lines += ["", f"See: {self.url}{_TASKS}"] if self.url else []
        return Note(
            id=str(uuid.uuid5(_NAMESPACE, f"{digest.first.id}/{digest.last.id}")),
            time=digest.last.time,
            subject=f"tesp: {counts}",
            text="".join(f"{line}\n" for line in lines),
            short=f"tesp: {counts}, {period}",
        )


def one_line(text: str | None, most: int) -> str:
    """Somebody's words as one line of printable signs, cut off where they are too long."""
    plain = "".join(sign if sign.isprintable() else " " for sign in (text or "")[:_LOOKED_AT])
    said = " ".join(plain.split())
    return said if len(said) <= most else f"{said[: most - 3]}..."


def _short(event: Event) -> str:
    name, reason = one_line(event.name, _SHORT_NAME), one_line(event.reason, _SHORT_REASON)
    words = f"tesp: {event.state.value}: {f'{name} ' if name else ''}({event.task})"
    return f"{words}: {reason}" if reason else words


def _line(event: Event) -> str:
    return f"{_moment(event.time)}  {event.state.value}  {event.task}  {one_line(event.name, 80)}"


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
