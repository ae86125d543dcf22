"""A rule for one receiver as a sink: tells of the events that it wants, one by one while they are
few.

What is more than the allowance waits in the log until there is another, and goes as one summary of
all that came meanwhile. The cursor moves on with each note that was brought, so that a stop in the
middle of a long wait repeats none.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Protocol

from tesp.agents import cursor_of
from tesp.agents.notifications import Note, Notifier
from tesp.agents.notifications.allowance import Allowance
from tesp.agents.notifications.writing import Digest, Writing
from tesp.agents.selecting import wants
from tesp.errors import MessageRefused
from tesp.events import Event
from tesp.settings import RuleSettings
from tesp.store import TaskStore
from tesp.store.log import CursorStore, Logged
from tesp.tes.views import View, tags_of

_log = logging.getLogger(__name__)

_PAGE = 1000


class NotificationStore(CursorStore, TaskStore, Protocol):
    """What a rule looks at: the log, and tasks for their tags."""


class NotificationSink:
    """One rule, and one of its receivers: who cannot be told holds up nobody else."""

    def __init__(
        self,
        name: str,
        rule: RuleSettings,
        receiver: str,
        notifier: Notifier,
        writing: Writing,
        store: NotificationStore,
    ) -> None:
        self.name = name
        self._rule = rule
        self._receiver = receiver
        self._notifier = notifier
        self._writing = writing
        self._store = store
        self._allowance = Allowance(rule.most, rule.window_seconds)
        self._crowded = False
        self._done = 0

    async def send(self, events: Sequence[Logged]) -> None:
        """Tell of them in order. What was told before a failure is not told again."""
        for entry in events:
            if entry.sequence > self._done and await self._wants(entry.event):
                await self._tell_of(entry)
            self._done = max(self._done, entry.sequence)

    async def close(self) -> None:
        """The notifier is others' too, and is closed by who opened it."""

    async def _wants(self, event: Event) -> bool:
        return wants(self._rule, event) and await self._is_tagged(event.task)

    async def _is_tagged(self, task_id: str) -> bool:
        """Events have no tags: the task is looked at, where the rule asks for one."""
        if self._rule.tag is None:
            return True
        task = await self._store.get(task_id, View.BASIC)
        return self._rule.fits(tags_of(task.body) if task else {})

    async def _tell_of(self, entry: Logged) -> None:
        """Of this one, or of this and all behind it."""
        wait = self._allowance.wait_seconds(time.monotonic())
        if not self._crowded and wait == 0:
            await self._tell(self._writing.note(entry.event), entry.sequence)
            return
        # It stays so where the summary cannot be brought: what waits is never told one by one.
        self._crowded = True
        if wait:
            _log.info("%s: what comes waits for %d s, and is summed up then", self.name, wait)
            await asyncio.sleep(wait)
        digest, end = await self._summed_up(entry)
        await self._tell(self._writing.summary(digest), end)
        self._crowded = False

    async def _summed_up(self, entry: Logged) -> tuple[Digest, int]:
        """All from this one on, and where in the log that ends."""
        digest, end = Digest(entry.event, entry.event), entry.sequence - 1
        while page := await self._store.read(end, _PAGE):
            for one in page:
                if await self._wants(one.event):
                    digest.add(one.event)
            end = page[-1].sequence
        return digest, end

    async def _tell(self, note: Note, end: int) -> None:
        """Tell it, unless its receiver is never told; raises BusUnavailable and BusRefused."""
        try:
            await self._notifier.notify(note, self._receiver)
        except MessageRefused as error:
            who = self._receiver
            _log.warning("%s: %s is not told of %s: %s", self.name, who, note.subject, error)
        self._allowance.take(time.monotonic())
        self._done = end
        await self._store.move_cursor(cursor_of(self.name), end)
