#!/usr/bin/env python3
"""Two agents: one watches for alerts, one plans the night. Each is a process of its own.

    python night.py scheduler settings.toml &
    python night.py watcher settings.toml &
    python night.py alert settings.toml "target=GRB 250101A" magnitude=17.2

Without addresses in the settings they speak over the bus that the settings name.
"""

import asyncio
import shlex
import sys
from pathlib import Path

from tesp.agents.agent import Agent, Letter, Sender, run, takes
from tesp.agents.posts import Post, post_of
from tesp.settings import load


class Watcher(Agent):
    """Hands on what is bright enough."""

    @takes("alert")
    async def judge(self, letter: Letter) -> None:
        """One alert."""
        if float(letter.fields["magnitude"] or 99) < 18.5:
            await self.send_to("scheduler", "observe", target=letter.fields["target"])


class Scheduler(Agent):
    """Keeps a plan, and works it off."""

    def __init__(self, name: str, post: Post) -> None:
        super().__init__(name, post)
        self.plan: asyncio.Queue[str] = asyncio.Queue()

    async def start(self) -> None:
        """Before the first letter."""
        print("ready", flush=True)

    @takes("observe")
    async def add(self, letter: Letter) -> None:
        """One more target."""
        self.plan.put_nowait(str(letter.fields["target"]))

    async def work(self) -> None:
        """Beside the receiving."""
        while True:
            print("observes", await self.plan.get(), flush=True)

    async def shutdown(self) -> None:
        """At SIGTERM."""
        print("closes the dome", flush=True)
        await super().shutdown()


def main(role: str, settings: str, *words: str) -> None:
    """Be one of the agents, or send an alert."""
    post = post_of(load(Path(settings)))
    if role == "alert":
        asyncio.run(Sender(post).send_to("watcher", shlex.join(["alert", *words])))
    else:
        run({"watcher": Watcher, "scheduler": Scheduler}[role](role, post))


if __name__ == "__main__":
    main(*sys.argv[1:])
