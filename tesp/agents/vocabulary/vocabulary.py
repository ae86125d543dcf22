"""The agent that has the vocabulary: it answers letters and HTTP, and holds messages against it."""

import asyncio
import logging
import signal
import sqlite3
from functools import partial
from pathlib import Path

import orjson

from tesp.agents.agent import Agent, Letter, takes
from tesp.agents.listening import Listener, listen
from tesp.agents.notebook import Notebook, say
from tesp.agents.posts import Post
from tesp.agents.together import together
from tesp.agents.vocabulary import breaches, terms
from tesp.agents.vocabulary.views import routes
from tesp.agents.window import serve
from tesp.bus import MOST_HOPS, Bus, Delivery, Message, Value
from tesp.errors import SettingsError
from tesp.settings import TermRule, VocabularySettings
from tesp.tes.templates import text_of

_log = logging.getLogger(__name__)

SCHEMA = """
CREATE TABLE IF NOT EXISTS rejections (id TEXT PRIMARY KEY, time REAL NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS rejections_time ON rejections (time);
"""
_REPLY = "reply_to"


class VocabularyAgent(Agent):
    """Letters: `collections`, `term collection=... name=...`, each answered to the agent that
    `reply_to` names; `reload`, as SIGHUP."""

    def __init__(
        self,
        name: str,
        post: Post,
        bus: Bus,
        prefix: str,
        settings: VocabularySettings,
        directory: Path,
        notebook: Notebook,
    ) -> None:
        """Raises SettingsError where the files, or rules about them, cannot be used."""
        super().__init__(name, post)
        self._bus, self._prefix, self._settings = bus, prefix, settings
        self._directory, self._notebook = directory, notebook
        self._vocabulary = self._read()
        self._again = asyncio.Event()

    async def start(self) -> None:
        """From now on SIGHUP reads the files again."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._again.set)

    async def work(self) -> None:
        """Listen, answer and tell, for ever."""
        topics = dict.fromkeys(rule.topic for rule in self._settings.rules)
        listeners = [
            Listener(f"{self.name}-{number}", topic, partial(self._judge, topic))
            for number, topic in enumerate(topics)
        ]
        await together(
            listen(listeners, [self._bus]),
            self._notebook.speak(self._bus),
            self._reload_for_ever(),
            self._notebook.forget_for_ever(_forget, self._settings.keep_days),
            serve(
                routes(lambda: self._vocabulary, self._notebook),
                self._settings.port,
                "vocabulary.port",
            ),
        )

    @takes("reload")
    async def reload(self, letter: Letter) -> None:
        """Read the files again."""
        self._again.set()

    @takes("collections")
    async def collections(self, letter: Letter) -> None:
        """Tell how many terms each collection has."""
        found = self._vocabulary.collections.items()
        await self._reply(letter, "collections", {key: len(one.terms) for key, one in found})

    @takes("term")
    async def term(self, letter: Letter) -> None:
        """Tell what a text is in a collection."""
        key, asked = letter.fields.get("collection"), text_of(letter.fields.get("name"))
        collection = self._vocabulary.collections.get(str(key))
        term = collection.find(asked) if collection else None
        said: dict[str, Value] = {"collection": key, "asked": asked, "known": term is not None}
        if term:
            said |= {"name": term.name, "label": term.label, "synonyms": ", ".join(term.synonyms)}
        elif collection:
            said |= {"nearest": collection.nearest(asked)}
        await self._reply(letter, "term", said)

    async def _reply(self, letter: Letter, name: str, said: dict[str, Value]) -> None:
        to = letter.fields.get(_REPLY)
        if not isinstance(to, str) or not to:
            _log.warning("%s: the letter %s has no %s.", self.name, letter.name, _REPLY)
            return
        await self.send_to(to, name, **said)

    async def _judge(self, topic: str, delivery: Delivery) -> None:
        """Tell of each rule that a message breaks."""
        message = delivery.message
        if delivery.retained or message.topic == breaches.topic(self._prefix):
            return
        rules: list[TermRule] = [rule for rule in self._settings.rules if rule.topic == topic]
        found = breaches.breaches(self._vocabulary, rules, message.payload)
        if not found:
            return
        if message.hops >= MOST_HOPS:
            _log.warning("%r came after %d hops: it ends here.", message.id, message.hops)
            return
        said = [breaches.message(self._prefix, message, breach) for breach in found]
        await self._notebook.write(lambda db: _reject(db, said))

    def _read(self) -> terms.Vocabulary:
        vocabulary = terms.read(self._directory)
        breaches.check(vocabulary, self._settings.rules)
        count = len(vocabulary.collections)
        _log.info("%s: %d terms in %d collections.", self.name, len(vocabulary), count)
        return vocabulary

    async def _reload_for_ever(self) -> None:
        """Files that cannot be used change nothing."""
        while True:
            await self._again.wait()
            self._again.clear()
            try:
                self._vocabulary = await asyncio.to_thread(self._read)
            except SettingsError as error:
                _log.error("%s: the terms stay as they were: %s", self.name, error)


def _reject(db: sqlite3.Connection, said: list[Message]) -> None:
    """Tell of each once, however often its message comes."""
    for one in said:
        row = (one.id, one.time, orjson.dumps(one.payload))
        added = db.execute("INSERT OR IGNORE INTO rejections VALUES (?, ?, ?)", row)
        if added.rowcount:
            _log.warning("%r: %s.", one.payload["message"], one.payload["reason"])
            say(db, one)


def _forget(db: sqlite3.Connection, before: float) -> None:
    db.execute("DELETE FROM rejections WHERE time < ?", (before,))
