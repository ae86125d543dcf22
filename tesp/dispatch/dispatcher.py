"""The dispatcher: adopts what was left behind, claims what is due, and relays events.

It is woken by the store and by the end of its own attempts; only leases have a period.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from tesp.dispatch.abandoned import Abandoned
from tesp.dispatch.attempt import AttemptRun, Tools
from tesp.dispatch.lanes import Keeper, Lane, Lanes
from tesp.dispatch.lease import LeaseKeeper
from tesp.dispatch.relay import Relay
from tesp.errors import StoreError
from tesp.store import Candidate, Claim, LeaseStore

_log = logging.getLogger(__name__)

_FARTHEST = 4096
"""How many tasks of one owner are looked at, where those before them cannot start."""


class Dispatcher:
    """Runs tasks of one store on its backends until it is cancelled."""

    def __init__(
        self,
        store: LeaseStore,
        lanes: Lanes,
        tools: Tools,
        holder: str,
        lease_seconds: float,
        relay: Relay,
        abandon_seconds: float,
    ) -> None:
        own = [lane.backend.name for lane in lanes.all]
        self._abandoned = Abandoned(tools.store, own, holder, abandon_seconds)
        self._store = store
        self._lanes = lanes
        self._tools = tools
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._relay = relay
        self._leases = LeaseKeeper(store, lease_seconds)
        self._wake = asyncio.Event()
        self._lane_gained = asyncio.Event()
        self._keepers = [
            Keeper(lane, store, holder, lease_seconds, self._on_lane) for lane in lanes.all
        ]
        self._running: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Dispatch for ever. On cancellation jobs go on, and their leases are given up."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._leases.run())
                group.create_task(self._watch_store())
                group.create_task(self._adopt_for_ever())
                group.create_task(self._claim_for_ever())
                group.create_task(self._relay.run())
                group.create_task(self._abandoned.run())
                for keeper in self._keepers:
                    group.create_task(keeper.run())
        finally:
            await self._stop()

    async def _stop(self) -> None:
        held = self._leases.held()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._leases.release(held)
        for keeper in self._keepers:
            await keeper.release()

    def _on_lane(self) -> None:
        """A backend has become ours, or can be used again."""
        self._lane_gained.set()
        self._wake.set()

    async def _watch_store(self) -> None:
        """Turn changes of the store into work and into a look at our tasks' leases."""
        while True:
            try:
                changed = await self._store.changed(self._lease_seconds)
            except StoreError as error:
                _log.warning("The store cannot be watched: %s", error)
                changed = await asyncio.sleep(1.0, result=True)
            if changed:
                self._wake.set()
                if self._running:
                    self._leases.nudge()

    async def _adopt_for_ever(self) -> None:
        while True:
            self._lane_gained.clear()
            deadline = self._leases.deadline()
            try:
                claims = await self._adopted()
            except StoreError as error:
                _log.warning("Nothing could be adopted: %s", error)
                claims = []
            for claim in claims:
                _log.info("Task %s: adopted, %s", claim.fence.task_id, claim.attempt.phase)
                self._start(claim, deadline)
            if not claims:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._lease_seconds / 2):
                        await self._lane_gained.wait()

    async def _adopted(self) -> Sequence[Claim]:
        held = self._lanes.held
        if not held:
            return []
        return await self._store.adopt(held, self._holder, self._lease_seconds)

    async def _claim_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._fill()
            except StoreError as error:
                _log.warning("Nothing could be claimed: %s", error)
                await asyncio.sleep(1.0)
                continue
            await self._wake.wait()

    async def _fill(self) -> None:
        """Start tasks until the backends are full or nothing more can start.

        Those that cannot start, for want of a backend that they may run on, do not stand in the
        way of what comes after them.
        """
        reach = self._lanes.free_slots
        while self._lanes.free_slots:
            due = list(await self._store.queued(per_owner=reach))
            barred = await self._start_all(due)
            if barred < reach or reach >= _FARTHEST:
                return
            reach = min(_FARTHEST, 4 * reach)

    async def _start_all(self, due: list[Candidate]) -> int:
        """Start those that can start, in turn; how many have no backend now."""
        takers = self._lanes.takers(due)
        while found := self._lanes.next(due, takers):
            lane, chosen = found
            await self._claim(lane, chosen)
            due.remove(chosen)
        usable = {lane.offer.name for lane in self._lanes.all if lane.free_slots}
        return sum(not usable & takers[c.task_id] for c in due)

    async def _claim(self, lane: Lane, chosen: Candidate) -> None:
        deadline = self._leases.deadline()
        claim = await self._store.claim(
            chosen.task_id, lane.backend.name, self._holder, self._lease_seconds
        )
        if claim is not None:
            self._start(claim, deadline)

    def _start(self, claim: Claim, deadline: float) -> None:
        lane = self._lanes.of(claim.attempt.backend)
        lane.ledger.take(claim.fence.task_id, claim.needs)
        task = asyncio.create_task(self._attempt(claim, lane, deadline))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _attempt(self, claim: Claim, lane: Lane, deadline: float) -> None:
        lease = self._leases.keep(claim.fence, deadline)
        try:
            await AttemptRun(claim, lease, lane, self._tools).run()
        except Exception:  # noqa: BLE001 - the boundary of an attempt
            # The lease runs out and the attempt is adopted: nothing is lost by going on.
            _log.exception("Task %s: its attempt is left to be adopted", claim.fence.task_id)
        finally:
            self._leases.drop(lease)
            lane.ledger.give(claim.fence.task_id)
            self._wake.set()
