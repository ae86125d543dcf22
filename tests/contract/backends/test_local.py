"""The local backend: jobs as processes that outlive whoever started them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tesp.backends.local import LocalBackend, observation
from tesp.runner.plan import PLAN_FILE
from tests.contract.backends.harness import SANDBOX, Attempt, LocalHarness, processes_of
from tests.peers.room import wait_until


@pytest.fixture
def harness(tmp_path: Path) -> LocalHarness:
    return LocalHarness(tmp_path / "data", SANDBOX)


@pytest.fixture
async def backend(harness: LocalHarness) -> AsyncIterator[LocalBackend]:
    backend = harness.opened()
    yield backend
    await backend.close()


async def test_a_warm_process_that_was_killed_is_started_anew(
    harness: LocalHarness, backend: LocalBackend
) -> None:
    await (await Attempt(harness, backend).start("true")).end()
    os.kill(parent_of_runners(harness.root.parent), signal.SIGKILL)
    attempt = await Attempt(harness, backend).start("echo again")
    assert (await attempt.end()).tails["0.stdout"] == b"again\n"


async def test_a_start_that_is_canceled_in_the_middle_mixes_up_no_later_one(
    harness: LocalHarness, backend: LocalBackend
) -> None:
    await (await Attempt(harness, backend).start("true")).end()
    warm = parent_of_runners(harness.root.parent)
    first = await Attempt(harness, backend).prepare()
    os.kill(warm, signal.SIGSTOP)
    starting = asyncio.create_task(first.submit(first.plan("true")))
    while not harness.place(first.job).joinpath(PLAN_FILE).exists():  # noqa: ASYNC110 - a file
        await asyncio.sleep(0.01)
    starting.cancel()
    os.kill(warm, signal.SIGCONT)
    with suppress(asyncio.CancelledError):
        await starting
    await first.end()

    # Whoever takes the answer to another for his own finds that job dead, and nothing of his.
    os.kill(warm, signal.SIGSTOP)
    asyncio.get_running_loop().call_later(0.3, os.kill, warm, signal.SIGCONT)
    second = await Attempt(harness, backend).start("echo here")
    assert (await second.end()).tails["0.stdout"] == b"here\n"


def parent_of_runners(directory: Path) -> int:
    mark = next(directory.glob("runner-*.pyz")).name
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        serves = words[-2:-1] == [b"serve"] and any(w.endswith(mark.encode()) for w in words)
        if serves and parent == os.getpid():
            found.append(int(process.name))
    assert len(found) == 1
    return found[0]


async def test_a_job_that_was_never_started_is_told_as_such(
    harness: LocalHarness, backend: LocalBackend
) -> None:
    attempt = await Attempt(harness, backend).prepare()
    ended = await attempt.end()
    assert (ended.result, ended.started) == (None, False)


async def test_a_command_that_leaves_a_process_behind_is_ended_with_it(
    harness: LocalHarness, backend: LocalBackend
) -> None:
    attempt = await Attempt(harness, backend).start("(sleep 600 >/dev/null 2>&1 &) ; echo done")
    assert (await attempt.end()).tails["0.stdout"] == b"done\n"
    await backend.clean(attempt.job)
    wait_until(lambda: not processes_of(attempt.handle), "nothing of the task runs")


def test_what_changes_in_the_moment_of_a_look_is_seen_at_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The times of directories are coarse: two changes may have the same."""
    monkeypatch.setattr(observation, "_COARSE_NS", 10**15)
    looking = observation.Observation(tmp_path)
    assert looking.stirred()
    monkeypatch.setattr(observation, "_COARSE_NS", 0)  # that moment has passed
    assert looking.stirred()
    assert not looking.stirred()
