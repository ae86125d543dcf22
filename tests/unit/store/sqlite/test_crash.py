"""What was acknowledged survives the death of the process at any moment."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tesp.store.sqlite import SqliteStore
from tesp.tes.states import State
from tesp.tes.views import View

# Many callers, so that every commit holds a group; each says what was acknowledged.
SUBMITTER = """
import asyncio, os, sys
from pathlib import Path
from tesp.store import Change, NewTask
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.states import Transition
from tesp.tes.views import Text

async def submit(store):
    while True:
        made = await store.create(
            NewTask(new_task_id(), "ann", Text('"name":"' + "x" * 3000 + '"'), tags={"k": "v"})
        )
        os.write(1, f"{made} QUEUED\\n".encode())
        claim = await store.claim(made, "local", "me", 60)
        os.write(1, f"{made} INITIALIZING\\n".encode())
        await store.write(claim.fence, Change(Transition.SYSTEM_FAILED))
        os.write(1, f"{made} SYSTEM_ERROR\\n".encode())

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(submit(store) for _ in range(16)))

asyncio.run(main())
"""
ORDER = [State.QUEUED, State.INITIALIZING, State.SYSTEM_ERROR]


def lines_before_its_death(file: Path, count: int) -> list[str]:
    """Run a submitter, and kill it once it has said `count` lines; all whole lines of it."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUBMITTER, file], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(count)]
    os.kill(process.pid, signal.SIGKILL)
    lines += process.stdout.readlines()
    process.stdout.close()
    assert process.wait(60) == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path: Path, seed: int) -> None:
    file = tmp_path / "t.sqlite"
    chance = random.Random(seed)
    known: dict[str, State] = {}

    for _ in range(2):
        for line in lines_before_its_death(file, chance.randint(1, 1500)):
            task_id, state = line.split()
            known[task_id] = State(state)

    asyncio.run(_see(file, known))


async def _see(file: Path, known: dict[str, State]) -> None:
    store = await SqliteStore.open(file)
    for task_id, state in known.items():
        task = await store.get(task_id, View.FULL)
        assert task is not None
        assert ORDER.index(task.state) >= ORDER.index(state)
        assert len(task.body) > 3000
        events = await store.history(task_id)
        assert [e.state for e in events] == ORDER[: len(events)]
        assert events[-1].state is task.state
    await store.close()
    with sqlite3.connect(file) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        counts = [
            db.execute(f"SELECT count(*) FROM {table}").fetchone()
            for table in ("tasks", "bodies", "tags")
        ]
    db.close()
    assert len(known) <= counts[0][0]
    assert counts == counts[:1] * 3
