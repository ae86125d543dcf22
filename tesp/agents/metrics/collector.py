"""The collector: keeps what nodes say, and tells where they cross a limit or fall silent."""

import asyncio
import contextlib
import logging
import math
import sqlite3
import time
import uuid

from tesp.agents.listening import Listener, listen
from tesp.agents.metrics import alarms, records, samples
from tesp.agents.metrics.alarms import Crossing
from tesp.agents.metrics.hearing import Hearing
from tesp.agents.metrics.lateness import Supervision
from tesp.agents.metrics.samples import Sample
from tesp.agents.metrics.views import routes
from tesp.agents.notebook import Notebook, say
from tesp.agents.together import together
from tesp.agents.window import serve
from tesp.bus import MOST_HOPS, Bus, Delivery, tael
from tesp.errors import BusRefused, BusUnavailable, MessageRefused, StoreError
from tesp.settings import MetricsSettings

_log = logging.getLogger(__name__)

# So often within the time that makes a node silent, and within that which makes a task late.
_LOOKS = 4
_LONGEST_LOOK_SECONDS = 10.0
# So much time has who could not tell that a task ended, once he can: no task that is late by less
# is told of, and none before we have heard for so long.
_MOST_GRACE_SECONDS = 60.0


class Collector:
    """One collector of a site. `supervision` looks after tasks, where that is wanted."""

    def __init__(
        self,
        who: str,
        bus: Bus,
        prefix: str,
        settings: MetricsSettings,
        supervision: Supervision | None,
        notebook: Notebook,
    ) -> None:
        self._who, self._bus, self._prefix = who, bus, prefix
        self._settings, self._supervision, self._notebook = settings, supervision, notebook
        self._grace_seconds = min(settings.late_seconds or math.inf, _MOST_GRACE_SECONDS)
        # Each subscription is an ear of its own.
        self._hearing = Hearing(prefix, who, 2 * settings.silent_seconds / _LOOKS)
        self._hearing_tasks = Hearing(prefix, who, self._grace_seconds / 2, self._hearing.ours)

    async def run(self) -> None:
        """Collect for ever."""
        listeners = [
            Listener(f"{self._who}-samples", samples.every_topic(self._prefix), self._hear)
        ]
        if self._supervision:
            topic, beats = tael.every_status_topic(self._prefix), self._hearing_tasks.topic
            listeners.append(Listener(f"{self._who}-tasks", topic, self._supervise, (beats,)))
        await together(
            listen(listeners, [self._bus]),
            self._notebook.speak(self._bus),
            self._look_for_ever(),
            self._notebook.forget_for_ever(records.forget, self._settings.keep_days),
            serve(routes(self._notebook), self._settings.port, "metrics.port"),
        )

    async def _hear(self, delivery: Delivery) -> None:
        now = time.time()
        if delivery.retained or self._hearing.is_beat(delivery.message, now):
            return
        try:
            sample = samples.sample(delivery.message, now)
        except MessageRefused as error:
            topic = delivery.message.topic
            _log.warning("%s: dropped a sample on %r: %s", self._who, topic[:200], error)
            return
        await self._notebook.write(lambda db: self._keep(db, sample, now))

    def _keep(self, db: sqlite3.Connection, sample: Sample, now: float) -> None:
        """Keep it, and tell what it changes."""
        is_newest = records.keep(db, sample, now)
        raised = records.raised(db, sample.host)
        if alarms.SILENT in raised:
            over = Crossing(alarms.SILENT, 0.0, self._settings.silent_seconds, is_over=True)
            self._tell(db, sample.host, over, raised[alarms.SILENT], sample.hops + 1)
        if not is_newest:
            return
        for crossing in alarms.crossings(self._settings.limits, sample.values, raised):
            cause = raised.get(crossing.what, sample.correlation)
            self._tell(db, sample.host, crossing, cause, sample.hops + 1)

    def _tell(
        self, db: sqlite3.Connection, host: str, crossing: Crossing, cause: str, hops: int
    ) -> None:
        records.cross(db, host, crossing, cause, time.time())
        if hops > MOST_HOPS:
            _log.warning("%s: it ends here, after %d hops.", host, hops - 1)
            return
        said = alarms.message(self._prefix, host, crossing, cause, hops)
        _log.warning("%s: %s: %s.", host, crossing.what, said.payload["status"])
        say(db, said)

    async def _supervise(self, delivery: Delivery) -> None:
        supervision, message, now = self._supervision, delivery.message, time.time()
        if not supervision or delivery.retained or self._hearing_tasks.is_beat(message, now):
            return
        if supervision.is_late(message, now):
            # It has waited somewhere, and that the task ended may wait behind it.
            self._hearing_tasks.begin_anew(now)
        await self._notebook.write(lambda db: supervision.hear(db, message, now))

    async def _look_for_ever(self) -> None:
        """Look for nodes that are silent, and for tasks that are late."""
        watched = (self._settings.silent_seconds, self._settings.late_seconds)
        shortest = min(seconds for seconds in watched if seconds is not None)
        while True:
            with contextlib.suppress(StoreError):
                await self._look()
            await asyncio.sleep(min(shortest / _LOOKS, _LONGEST_LOOK_SECONDS))

    async def _look(self) -> None:
        with contextlib.suppress(BusUnavailable, BusRefused):
            await self._bus.publish([self._hearing.beat()])
        now = time.time()
        if self._hearing.has_heard(now, self._settings.silent_seconds):
            await self._notebook.write(lambda db: self._tell_silent(db, now))
        if supervision := self._supervision:
            until = self._hearing_tasks.sure_until(now, self._grace_seconds)
            await self._notebook.write(lambda db: supervision.tell(db, until, now))

    def _tell_silent(self, db: sqlite3.Connection, now: float) -> None:
        limit = self._settings.silent_seconds
        for host, heard in records.silent(db, alarms.SILENT, now - limit):
            crossing = Crossing(alarms.SILENT, round(now - heard, 1), limit)
            self._tell(db, host, crossing, str(uuid.uuid4()), 0)
