"""The publisher itself: hears of finished tasks, publishes them one by one, and again where that
fails. What it has begun is in its notebook, so that neither a restart nor a message that comes
twice publishes anything twice."""

import asyncio
import logging
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from tesp.agents.agent import Agent, Letter, takes
from tesp.agents.listening import Listener, listen
from tesp.agents.notebook import Notebook, say
from tesp.agents.posts import Post
from tesp.agents.publisher import copies, records
from tesp.agents.publisher.announcements import Announcements, Copied, manifest
from tesp.agents.publisher.records import Heard
from tesp.agents.publisher.rules import COMPLETE, Output, Publication, publications
from tesp.agents.publisher.service import TaskService
from tesp.agents.together import together
from tesp.bus import MOST_HOPS, Bus, Delivery, tael
from tesp.errors import NotFound, RequestRefused, ServiceUnreachable, StagingError, StoreError
from tesp.settings import PublisherSettings
from tesp.staging.storages import Storages

_log = logging.getLogger(__name__)

_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_PAUSE_SECONDS = 3600.0
_AWAY_SECONDS = 5.0


class Publisher(Agent):
    """Publishes what the rules say. The letter `publish task=ID` tries one anew."""

    def __init__(
        self,
        name: str,
        post: Post,
        bus: Bus,
        settings: PublisherSettings,
        announcements: Announcements,
        storages: Storages,
        service: TaskService,
        notebook: Notebook,
    ) -> None:
        super().__init__(name, post)
        self._bus, self._settings, self._announcements = bus, settings, announcements
        self._storages, self._service, self._notebook = storages, service, notebook
        self._news = asyncio.Event()
        self._is_away = False
        self._at_work: set[str] = set()

    async def work(self) -> None:
        """Listen, publish and tell, for ever."""
        topic = tael.every_status_topic(self._announcements.prefix)
        listener = Listener(self.name, topic, self._hear)
        await together(
            listen([listener], [self._bus]),
            self._notebook.speak(self._bus),
            self._notebook.forget_for_ever(records.forget, self._settings.keep_days),
            *(self._publish_for_ever() for _ in range(self._settings.at_once)),
        )

    @takes("publish")
    async def publish(self, letter: Letter) -> None:
        """Publish a task that failed, or that was never heard of."""
        task = letter.fields.get("task")
        if not isinstance(task, str) or not _TASK_ID.fullmatch(task):
            _log.warning("%s: publish needs task=ID.", self.name)
            return
        if not await self._notebook.write(partial(records.again, task=task, now=time.time())):
            heard = Heard(task, letter.correlation or letter.id, letter.hops, 0)
            await self._notebook.write(partial(records.hear, heard=heard, now=time.time()))
        self._news.set()

    async def _hear(self, delivery: Delivery) -> None:
        message = delivery.message
        task = message.payload.get("task")
        if message.payload.get("state") != COMPLETE or not isinstance(task, str):
            return
        if not _TASK_ID.fullmatch(task):
            _log.warning("%r on %r names no task.", message.id, message.topic)
            return
        if message.hops >= MOST_HOPS:
            _log.warning("%s came after %d hops: it ends here.", task, message.hops)
            return
        heard = Heard(task, message.correlation, message.hops, 0)
        if await self._notebook.write(partial(records.hear, heard=heard, now=time.time())):
            self._news.set()

    async def _publish_for_ever(self) -> None:
        """One task after another, each when it is due."""
        while True:
            heard = None
            try:
                self._news.clear()
                heard, wait = await self._next()
                if heard is not None:
                    await self._publish(heard)
                    continue
            except StoreError as error:
                _log.error("%s", error)
                wait = _AWAY_SECONDS
            finally:
                if heard is not None:
                    self._at_work.discard(heard.task)
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _next(self) -> tuple[Heard | None, float | None]:
        """The next task that nobody publishes yet; else how long there is to wait for one."""
        most = self._settings.at_once + 1
        waiting = await self._notebook.read(partial(records.due, limit=most))
        left = [(due, heard) for due, heard in waiting if heard.task not in self._at_work]
        if not left:
            return None, None
        due, heard = left[0]
        if due > time.time():
            return None, due - time.time()
        self._at_work.add(heard.task)
        # Another may be due, too.
        self._news.set()
        return heard, None

    async def _publish(self, heard: Heard) -> None:
        """One try."""
        task: Mapping[str, Any] = {}
        try:
            task = await self._asked(heard.task)
            for publication in publications(self._settings.rules, task):
                await self._publish_one(publication, task, heard)
            await self._notebook.write(partial(records.settle, task=heard.task, reason=None))
        except (ServiceUnreachable, RequestRefused) as error:
            _log.log(logging.DEBUG if self._is_away else logging.WARNING, "All waits: %s", error)
            self._is_away = True
            pause = min(self._settings.retry_seconds, _AWAY_SECONDS)
            await self._postpone(heard, pause, heard.tries)
        except NotFound as error:
            # Anybody may have said that it is finished.
            _log.warning("%s is not published: %s.", heard.task, error)
            await self._notebook.write(partial(records.drop, task=heard.task))
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a try
            reason = str(error) if isinstance(error, StagingError) else repr(error)
            await self._failed(heard, task, reason)

    async def _asked(self, identifier: str) -> Mapping[str, Any]:
        task = await self._service.task(identifier)
        if self._is_away:
            _log.info("The task service answers again.")
            self._is_away = False
        if task.get("state") != COMPLETE:
            raise NotFound(f"the service says that it is {task.get('state')}")
        return task

    async def _publish_one(
        self, publication: Publication, task: Mapping[str, Any], heard: Heard
    ) -> None:
        """All files, then their manifest, then the word of it."""
        place = publication.manifest
        known = partial(records.is_published, task=heard.task, manifest=place)
        if await self._notebook.read(known):
            return
        files = [
            await self._copied(heard.task, one, publication.url(one)) for one in publication.outputs
        ]
        await copies.write(self._storages, manifest(publication, task, heard, files), place)

        def done(db: sqlite3.Connection) -> None:
            records.publish(db, heard.task, place)
            say(db, self._announcements.published(publication, task, heard))

        await self._notebook.write(done)
        _log.info("%s: %d files are published: %s", heard.task, len(files), place)

    async def _copied(self, task: str, output: Output, url: str) -> Copied:
        sha256 = await self._notebook.read(lambda db: records.digest(db, task, url, output))
        if sha256 is None:
            done = await copies.copy(self._storages, output.url, url, output.size)
            await self._notebook.write(lambda db: records.copied(db, task, url, output, done))
            sha256 = done
        return Copied(output, url, sha256)

    async def _failed(self, heard: Heard, task: Mapping[str, Any], reason: str) -> None:
        """It is tried again, later and later; after the last try that is told."""
        tries = heard.tries + 1
        _log.warning("%s: try %d failed: %s", heard.task, tries, reason)
        if tries < self._settings.tries:
            pause = self._settings.retry_seconds * 2.0**heard.tries
            await self._postpone(heard, min(pause, _LONGEST_PAUSE_SECONDS), tries)
            return
        last = Heard(heard.task, heard.correlation, heard.hops, tries)

        def done(db: sqlite3.Connection) -> None:
            records.settle(db, heard.task, reason)
            say(db, self._announcements.failed(last, task.get("name"), reason))

        await self._notebook.write(done)

    async def _postpone(self, heard: Heard, seconds: float, tries: int) -> None:
        until = time.time() + seconds
        await self._notebook.write(lambda db: records.postpone(db, heard.task, until, tries))
