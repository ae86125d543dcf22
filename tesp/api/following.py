"""Following the log for one client: what he wants of it, from where on, for as long as he stays."""

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from starlette.datastructures import QueryParams

from tesp.errors import Forgotten, InvalidTask, Problem, StoreError
from tesp.events import Event
from tesp.store import EventLog, Logged
from tesp.store.following import LogNews
from tesp.tes.states import State

_log = logging.getLogger(__name__)

_BATCH = 500
_SEQUENCE = re.compile(r"[0-9]{1,18}")
_MOST_FILTERS = 1000
_STORE_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; an empty filter takes all."""

    tasks: frozenset[str] = frozenset()
    states: frozenset[State] = frozenset()
    name_prefix: str = ""

    def takes(self, event: Event) -> bool:
        """Whether it is one of these."""
        return (
            (not self.tasks or event.task in self.tasks)
            and (not self.states or event.state in self.states)
            and (event.name or "").startswith(self.name_prefix)
        )


@dataclass(frozen=True, slots=True)
class Beat:
    """Nothing happened for a while; so far the log was looked through."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Cut:
    """The end, and why."""

    sequence: int
    sentence: str


def wanted(params: QueryParams) -> Wanted:
    """The filters of a query; raises InvalidTask."""
    tasks, states = params.getlist("task"), params.getlist("state")
    if len(tasks) > _MOST_FILTERS:
        raise InvalidTask([Problem("task", f"must not be given more than {_MOST_FILTERS} times")])
    known = {state.value for state in State}
    if wrong := [state for state in states if state not in known]:
        message = f"{wrong[0][:80]!r} is none; choose from {', '.join(sorted(known))}"
        raise InvalidTask([Problem("state", message)])
    return Wanted(frozenset(tasks), frozenset(map(State, states)), params.get("name_prefix", ""))


async def beginning(log: EventLog, after: str | None, field: str) -> int:
    """Where to begin: behind what the client names, else with what comes now.

    Raises InvalidTask, or Forgotten where something behind it is no longer kept.
    """
    end = await log.end()
    if after is None:
        return end
    if not _SEQUENCE.fullmatch(after):
        raise InvalidTask([Problem(field, "must be the whole number that is an event's id")])
    position, first = int(after), await log.first()
    if position + 1 < first:
        raise Forgotten(f"Events are kept from {first} on: ask for those after {first - 1}.")
    if position > end:
        raise Forgotten(f"The log ends at {end}; {position} is of another one, or was restored.")
    return position


class Following:
    """The log as clients follow it, until it is `over`."""

    def __init__(
        self, log: EventLog, news: LogNews, over: asyncio.Event, beat_seconds: float
    ) -> None:
        self._log = log
        self._news = news
        self._over = over
        self._beat_seconds = beat_seconds

    async def entries(
        self, want: Wanted, position: int
    ) -> AsyncGenerator[Logged | Beat | Cut, None]:
        """What is wanted, in order; a beat where there was nothing for a while."""
        while not self._over.is_set():
            try:
                batch = await self._log.read(position, _BATCH)
                if await self._lost(position, batch):
                    yield Cut(position, f"events after {position} are no longer kept")
                    return
            except StoreError as error:
                _log.warning("The event log cannot be read just now: %s", error)
                await asyncio.sleep(_STORE_PAUSE_SECONDS)
                continue
            for entry in batch:
                if want.takes(entry.event):
                    yield entry
            position = batch[-1].sequence if batch else position
            if not batch and not await self._grown(position):
                yield Beat(position)
        yield Cut(position, "the service ends")

    async def _lost(self, position: int, batch: Sequence[Logged]) -> bool:
        """Whether the client was so slow that the log has forgotten what he has not had."""
        if not batch or batch[0].sequence == position + 1:
            return False
        return await self._log.first() > position + 1

    async def _grown(self, position: int) -> bool:
        """Wait for more; False where there was nothing for a while."""
        growing = asyncio.ensure_future(self._news.beyond(position, self._beat_seconds))
        ending = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait({growing, ending}, return_when=asyncio.FIRST_COMPLETED)
            return ending.done() or growing.result()
        finally:
            growing.cancel()
            ending.cancel()
