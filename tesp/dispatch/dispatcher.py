"""The dispatcher: adopts what was left behind, claims what is due, and relays events.

It is woken by the store and by the end of its own attempts; only leases have a period.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from tesp.backends import Backend
from tesp.dispatch.attempt import AttemptRun, Tools
from tesp.dispatch.capacity import Ledger, Turns
from tesp.dispatch.lease import LeaseKeeper
from tesp.dispatch.relay import Relay
from tesp.errors import StoreError
from tesp.store import Candidate, Claim, LeaseStore

_log = logging.getLogger(__name__)


@dataclass
class _Lane:
    """A backend with what runs on it."""

    backend: Backend
    ledger: Ledger
    turns: Turns = field(default_factory=Turns)


class Dispatcher:
    """Runs tasks of one store on its backends until it is cancelled."""

    def __init__(
        self,
        store: LeaseStore,
        backends: Sequence[Backend],
        tools: Tools,
        holder: str,
        lease_seconds: float,
        relay: Relay,
    ) -> None:
        self._store = store
        self._lanes = {b.name: _Lane(b, Ledger(b.capacity())) for b in backends}
        self._tools = tools
        self._holder = holder
        self._lease_seconds = lease_seconds
        self._relay = relay
        self._leases = LeaseKeeper(store, lease_seconds)
        self._wake = asyncio.Event()
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
        finally:
            await self._stop()

    async def _stop(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._leases.release()

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
                self._relay.nudge()
                if self._running:
                    self._leases.nudge()

    async def _adopt_for_ever(self) -> None:
        while True:
            deadline = self._leases.deadline()
            try:
                claims = await self._store.adopt(
                    list(self._lanes), self._holder, self._lease_seconds
                )
            except StoreError as error:
                _log.warning("Nothing could be adopted: %s", error)
                claims = []
            for claim in claims:
                _log.info("Task %s: adopted, %s", claim.fence.task_id, claim.attempt.phase)
                self._start(claim, deadline)
            if not claims:
                await asyncio.sleep(self._lease_seconds / 2)

    async def _claim_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                for lane in self._lanes.values():
                    await self._fill(lane)
            except StoreError as error:
                _log.warning("Nothing could be claimed: %s", error)
                await asyncio.sleep(1.0)
                continue
            await self._wake.wait()

    async def _fill(self, lane: _Lane) -> None:
        """Start tasks until the backend is full or nothing more is due."""
        while lane.ledger.free_slots:
            due = list(await self._store.queued(per_owner=lane.ledger.free_slots))
            if not due:
                return
            while chosen := lane.turns.next(due, lane.ledger):
                await self._claim(lane, chosen)
                lane.turns.serve(chosen, due)
                due.remove(chosen)
            if due:
                return

    async def _claim(self, lane: _Lane, chosen: Candidate) -> None:
        deadline = self._leases.deadline()
        claim = await self._store.claim(
            chosen.task_id, lane.backend.name, self._holder, self._lease_seconds
        )
        if claim is not None:
            self._start(claim, deadline)

    def _start(self, claim: Claim, deadline: float) -> None:
        lane = self._lanes[claim.attempt.backend]
        lane.ledger.take(claim.fence.task_id, claim.needs)
        task = asyncio.create_task(self._attempt(claim, lane, deadline))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _attempt(self, claim: Claim, lane: _Lane, deadline: float) -> None:
        lease = self._leases.keep(claim.fence, deadline)
        try:
            await AttemptRun(claim, lease, lane.backend, self._tools).run()
        except Exception:  # noqa: BLE001 - the boundary of an attempt
            # The lease runs out and the attempt is adopted: nothing is lost by going on.
            _log.exception("Task %s: its attempt is left to be adopted", claim.fence.task_id)
        finally:
            self._leases.drop(lease)
            lane.ledger.give(claim.fence.task_id)
            self._wake.set()
