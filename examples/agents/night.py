#!/usr/bin/env python3
"""Two agents: one watches for alerts, one plans the night. Each is a process of its own.

    python night.py scheduler settings.toml &
    python night.py watcher settings.toml &
    python night.py alert settings.toml "target=GRB 250101A" magnitude=17.2

Behind the scheduler's settings a program may stand that observes; it is given the target. The plan
is kept in data/agents/scheduler.db: a scheduler that was killed goes on where it was. Without
addresses in the settings they speak over the bus that the settings name.
"""

import asyncio
import shlex
import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from tesp.agents.agent import Agent, Letter, Sender, run, takes, until_signalled
from tesp.agents.notebook import Notebook
from tesp.agents.posts import Post, post_of
from tesp.settings import load

SCHEMA = """
CREATE TABLE IF NOT EXISTS plan (
    letter TEXT PRIMARY KEY, target TEXT NOT NULL, observed INTEGER NOT NULL DEFAULT 0
)
"""


def add(db: sqlite3.Connection, letter: str, target: str) -> None:
    """Add a target to the plan; a letter that comes again adds nothing."""
    db.execute("INSERT OR IGNORE INTO plan (letter, target) VALUES (?, ?)", (letter, target))


def upcoming(db: sqlite3.Connection) -> tuple[str, str] | None:
    """The letter and the target that are next."""
    rows = db.execute("SELECT letter, target FROM plan WHERE NOT observed ORDER BY rowid LIMIT 1")
    found: tuple[str, str] | None = rows.fetchone()
    return found


def tick_off(db: sqlite3.Connection, letter: str) -> None:
    """It is observed."""
    db.execute("UPDATE plan SET observed = 1 WHERE letter = ?", (letter,))


class Watcher(Agent):
    """Hands on what is bright enough."""

    @takes("alert")
    async def judge(self, letter: Letter) -> None:
        """One alert."""
        if float(letter.fields["magnitude"] or 99) < 18.5:
            await self.send_to("scheduler", "observe", target=letter.fields["target"])


class Scheduler(Agent):
    """Keeps a plan in a notebook, and works it off."""

    def __init__(self, post: Post, notebook: Notebook, telescope: Sequence[str]) -> None:
        super().__init__("scheduler", post)
        self.notebook, self.telescope = notebook, telescope
        self.news = asyncio.Event()

    async def start(self) -> None:
        """Before the first letter."""
        print("ready", flush=True)

    @takes("observe")
    async def plan(self, letter: Letter) -> None:
        """One more target; it is on disk when this returns."""
        target = str(letter.fields["target"])
        await self.notebook.write(lambda db: add(db, letter.id, target))
        self.news.set()

    async def work(self) -> None:
        """Beside the receiving: what is planned, and what was when we were killed."""
        while True:
            self.news.clear()
            while found := await self.notebook.read(upcoming):
                await self.observe(*found)
            await self.news.wait()

    async def observe(self, letter: str, target: str) -> None:
        """Observe, then tick it off: what is broken off is observed again."""
        telescope = await asyncio.create_subprocess_exec(*self.telescope, target)
        try:
            await telescope.wait()
        finally:
            if telescope.returncode is None:
                telescope.terminate()
                await telescope.wait()
        await self.notebook.write(lambda db: tick_off(db, letter))

    async def shutdown(self) -> None:
        """At SIGTERM."""
        print("closes the dome", flush=True)
        await super().shutdown()


async def schedule(post: Post, file: Path, telescope: Sequence[str]) -> None:
    """Be the scheduler, with its notebook in this file."""
    async with Notebook.opened(file, SCHEMA) as notebook:
        await until_signalled(Scheduler(post, notebook, telescope))


def main(role: str, file: str, *words: str) -> None:
    """Be one of the agents, or send an alert."""
    settings = load(Path(file))
    post = post_of(settings)
    if role == "alert":
        asyncio.run(Sender(post).send_to("watcher", shlex.join(["alert", *words])))
    elif role == "watcher":
        run(Watcher(role, post))
    else:
        notebook = settings.data_dir / "agents" / "scheduler.db"
        asyncio.run(schedule(post, notebook, words or ("echo", "observes")))


if __name__ == "__main__":
    main(*sys.argv[1:])
