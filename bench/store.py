"""What the embedded store does in a second, and how little its size matters.

    python -m bench.store [DIRECTORY]

The directory decides which disk is measured; the files in it are removed at the end.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tesp.store import NewTask, TaskQuery
from tesp.store.sqlite import SqliteStore
from tesp.tes.identifiers import new_task_id
from tesp.tes.states import State
from tesp.tes.views import Text, View

CALLERS = 16
BODY = Text(
    '"executors":[{"image":"alpine","command":["sh","-c","' + "x" * 1900 + '"]}],'
    '"creation_time":"2024-01-01T00:00:00.000Z"'
)


async def create(store: SqliteStore, count: int, callers: int = CALLERS) -> list[str]:
    """Tasks of 2 KB; one in ten has the tag that the pages ask for."""
    made: list[str] = []

    async def submit() -> None:
        while len(made) < count:
            kind = "rare" if len(made) % 10 == 0 else "common"
            task_id = new_task_id()
            made.append(task_id)
            await store.create(NewTask(task_id, "ann", BODY, f"job-{kind}", tags={"kind": kind}))

    await asyncio.gather(*(submit() for _ in range(callers)))
    return made


async def per_second(label: str, work: Awaitable[list[str]]) -> list[str]:
    """Print how many a second."""
    start, spent = time.perf_counter(), time.process_time()
    made = await work
    seconds, cpu = time.perf_counter() - start, time.process_time() - spent
    print(f"{label:44} {len(made) / seconds:9,.0f}/s {cpu / len(made) * 1e6:9.0f} us of CPU")
    return made


async def median(call: Callable[[], Awaitable[object]], rounds: int = 200) -> float:
    """Microseconds of one call after another, the median."""
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


def looks(store: SqliteStore, ids: list[str]) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is measured in a small and in a large store."""
    tag = (("kind", "rare"),)
    queued = frozenset({State.QUEUED, State.INITIALIZING})
    queries = {
        "page of 256, MINIMAL, tag": TaskQuery(tags=tag),
        "page of 256, MINIMAL, tag and owner": TaskQuery(tags=tag, owner="ann"),
        "page of 256, MINIMAL, all": TaskQuery(),
        "page of 256, MINIMAL, two states": TaskQuery(states=queued),
        "page of 256, MINIMAL, name prefix": TaskQuery(name_prefix="job-r"),
        "page of 256, FULL, tag": TaskQuery(tags=tag, view=View.FULL),
    }
    middle = ids[len(ids) // 2]
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        f"GET {view}": lambda v=view: store.get(middle, v)  # type: ignore[misc]
        for view in View
    }
    calls["queued(16)"] = lambda: store.queued(16)
    for label, query in queries.items():
        calls[label] = lambda q=query: store.page(q)  # type: ignore[misc]
    return calls


async def main(directory: Path) -> None:
    """Measure in both sizes, in turns, so that noise meets both alike."""
    small = await SqliteStore.open(directory / "small.sqlite")
    large = await SqliteStore.open(directory / "large.sqlite")
    await per_second("durable create, 1 caller", create(small, 500, 1))
    small_ids = await create(small, 2500)
    large_ids = await per_second(f"durable create, {CALLERS} callers", create(large, 100_000))
    print(f"\n{'median':44} {'at 3,000':>11} {'at 100,000':>11} {'ratio':>6}")
    in_large = looks(large, large_ids)
    for label, call in looks(small, small_ids).items():
        turns = [(await median(call), await median(in_large[label])) for _ in range(5)]
        one, many = (statistics.median(t) for t in zip(*turns, strict=True))
        print(f"{label:44} {one:8.0f} us {many:8.0f} us {many / one:6.2f}")
    await small.close()
    await large.close()


if __name__ == "__main__":
    parent = sys.argv[1] if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="tesp-bench-") as place:
        asyncio.run(main(Path(place)))
