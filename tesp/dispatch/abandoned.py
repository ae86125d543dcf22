"""Attempts on backends that nobody serves any more: a machine that never came back, a Pulsar that
was taken out of the settings. After a long time they are ended."""

import asyncio
import logging
import time
from collections.abc import Collection

from tesp.dispatch.lease import Lease
from tesp.dispatch.record import Record, Superseded
from tesp.dispatch.report import Outcome
from tesp.errors import StoreError
from tesp.store import Claim, WorkerStore
from tesp.tes.states import State, Transition

_log = logging.getLogger(__name__)

_LEASE_SECONDS = 30.0
_LOOKS = 100


class Abandoned:
    """Looks for attempts of other backends than `own`, and ends those that nobody took for
    `seconds` while this process looked."""

    def __init__(
        self, store: WorkerStore, own: Collection[str], holder: str, seconds: float
    ) -> None:
        self._store, self._own, self._holder = store, own, holder
        self._seconds = seconds
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self._seconds / _LOOKS)
            try:
                await self._look()
            except StoreError as error:
                _log.warning("Abandoned attempts were not looked for: %s", error)

    async def _look(self) -> None:
        now = time.monotonic()
        found = set(await self._store.stranded()) - set(self._own)
        self._since = {backend: self._since.get(backend, now) for backend in found}
        for backend, since in self._since.items():
            if now - since >= self._seconds:
                for claim in await self._store.adopt([backend], self._holder, _LEASE_SECONDS):
                    await self._end(claim)

    async def _end(self, claim: Claim) -> None:
        lease = Lease(claim.fence, time.monotonic() + _LEASE_SECONDS)
        record = Record(claim, lease, self._store)
        backend = claim.attempt.backend
        sentence = f"Nobody has served the backend {backend} for {self._seconds:g} s. The job may "
        sentence += "have run there, or still run."
        _log.warning("Task %s: %s", claim.fence.task_id, sentence)
        record.report = record.report.say(*claim.warnings, sentence)
        canceling = record.state is State.CANCELING
        transition = Transition.END_CANCEL if canceling else Transition.SYSTEM_FAILED
        try:
            await record.end(Outcome(transition, sentence))
        except Superseded as error:
            _log.info("Task %s: left as it is, %s", claim.fence.task_id, error)
