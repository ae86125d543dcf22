"""Lanes: each backend with what runs on it, whether it can be used now, and who is next on it."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tesp.backends import Backend, Job
from tesp.dispatch.capacity import Ledger, Turns
from tesp.errors import BackendError, BackendUnavailable
from tesp.store import Candidate
from tesp.store.holding import Holding, HoldStore
from tesp.tes.offers import Offer, Offers

_log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5


@dataclass(eq=False)
class Lane:
    """A backend with what runs on it.

    `held`: it is ours to poll and to count for. `closed` tells why nothing starts there now.
    `transfers` bounds the transfers at once to and from it. `left` are jobs that could not be
    cleaned when they ended: that is done when the backend is back.
    """

    backend: Backend
    offer: Offer
    transfers: asyncio.Semaphore
    give_up_seconds: float = math.inf
    held: bool = False
    closed: str | None = "it was not looked at yet"
    turns: Turns = field(default_factory=Turns)
    faltered: asyncio.Event = field(default_factory=asyncio.Event)
    left: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.backend.capacity())

    @property
    def free_slots(self) -> int:
        """Tasks that may start now."""
        return self.ledger.free_slots if self.held and self.closed is None else 0

    @property
    def rank(self) -> tuple[bool, float]:
        """Where a task goes first: to what takes only its kind, then to the least load."""
        return self.offer.preemptible != "only", self.ledger.load

    def falter(self, reason: str) -> None:
        """Something failed: nothing more starts there before it was looked at."""
        if self.closed is None:
            _log.warning("%s is left out: %s", self.backend.name, reason)
            self.closed = reason
        self.faltered.set()

    def leave(self, job: Job) -> None:
        """What a job left is to be removed later."""
        self.left.append(job)


class Keeper:
    """Holds a lane's backend for this process, where it must be held, and looks after it."""

    def __init__(
        self,
        lane: Lane,
        store: HoldStore,
        holder: str,
        lease_seconds: float,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called where the lane has become ours, or can be used again."""
        self._lane = lane
        self._holding = Holding(store, f"backend:{lane.backend.name}", holder, lease_seconds)
        self._lease_seconds = lease_seconds
        self._changed = changed

    async def run(self) -> None:
        """Look for ever: soon again after a failure, and when the lane faltered."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._lane.faltered.clear()
            await self._hold()
            usable = self._lane.held and await self._usable()
            longest = self._lease_seconds / 3
            pause = longest if usable else min(longest, pause * 2)
            try:
                async with asyncio.timeout(pause):
                    await self._lane.faltered.wait()
                pause = _FIRST_PAUSE_SECONDS / 2
                # Who fails at each try is not looked at each time at once.
                await asyncio.sleep(pause)
            except TimeoutError:
                pass

    async def _hold(self) -> None:
        lane = self._lane
        held = not lane.backend.remote or await self._holding.held()
        if held and not lane.held:
            lane.held = True
            self._changed()
        elif lane.held and not held:
            # Who listens on hears what is meant for the new holder.
            await lane.backend.close()
        lane.held = held

    async def _usable(self) -> bool:
        lane = self._lane
        try:
            async with asyncio.timeout(self._lease_seconds / 3):
                await lane.backend.check()
        except TimeoutError:
            lane.falter(f"it gave no answer within {self._lease_seconds / 3:g} s")
        except BackendError as error:
            lane.falter(str(error))
        else:
            if lane.closed is not None:
                _log.info("%s can be used", lane.backend.name)
                lane.closed = None
                self._changed()
            await self._clean()
            return True
        return False

    async def _clean(self) -> None:
        """Remove what jobs left while the backend was out of reach."""
        left, self._lane.left = self._lane.left, []
        while left:
            try:
                await self._lane.backend.clean(left[0])
            except BackendUnavailable:
                self._lane.left += left
                return
            except BackendError as error:
                _log.warning("%s: something was left behind: %s", self._lane.backend.name, error)
            del left[0]

    async def release(self) -> None:
        """Let another dispatcher take over at once."""
        if self._lane.backend.remote and self._lane.held:
            await self._holding.give_back()


class Lanes:
    """All lanes of a dispatcher, and where the next task goes."""

    def __init__(self, lanes: Iterable[Lane], offers: Offers) -> None:
        self.all = list(lanes)
        self._offers = offers
        self._by_backend = {lane.backend.name: lane for lane in self.all}

    @property
    def free_slots(self) -> int:
        """Tasks that may start now, over all lanes."""
        return sum(lane.free_slots for lane in self.all)

    @property
    def held(self) -> list[str]:
        """The names of the backends whose attempts are ours to carry on."""
        return [lane.backend.name for lane in self.all if lane.held]

    def of(self, backend: str) -> Lane:
        """The lane of a backend."""
        return self._by_backend[backend]

    def takers(self, due: Sequence[Candidate]) -> dict[str, frozenset[str]]:
        """By task, the names of the lanes that it may take."""
        return {c.task_id: self._offers.takers(c.needs, c.tags) for c in due}

    def next(
        self, due: Sequence[Candidate], takers: dict[str, frozenset[str]]
    ) -> tuple[Lane, Candidate] | None:
        """Which task starts now, and where; None where none may."""
        usable = (lane for lane in self.all if lane.free_slots)
        for lane in sorted(usable, key=lambda lane: lane.rank):
            fitting = [c for c in due if lane.offer.name in takers[c.task_id]]
            chosen = lane.turns.next(fitting, lane.ledger)
            if chosen is not None:
                lane.turns.serve(chosen, fitting)
                return lane, chosen
        return None
