"""What the suite needs to know of a backend beyond its contract.

A new backend gets a Harness here and a name in conftest.py; then every test runs over it.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from tesp.backends import Backend, Capacity, Ended, Job
from tesp.backends.local import LocalBackend
from tesp.backends.package import build
from tesp.backends.pulsar import RestPulsar
from tesp.runner.plan import CLAIM_FILE, Executor, Found, Mount, Plan, Result, Runtime
from tesp.settings import PulsarSettings
from tesp.tes.needs import Needs
from tests.peers.pulsar import PulsarServer
from tests.peers.room import wait_until

SANDBOX = Runtime("sandbox", "bwrap")
ROOT = "roots/0"
_END_SECONDS = 120.0


class Harness(Protocol):
    """One kind of backend, and the machine that its jobs run on: this one."""

    runtime: Runtime

    def opened(self) -> Backend:
        """A backend object of its own, over the same jobs."""
        ...

    def place(self, job: Job) -> Path:
        """The workspace of a job on the disk."""
        ...

    def directory(self, job: Job) -> Path:
        """All that there is of a job on the disk."""
        ...

    async def staged(
        self, backend: Backend, job: Job, plan: Plan, files: Mapping[str, bytes]
    ) -> Plan:
        """Bring in the directories and files of a plan, as the dispatcher does."""
        ...

    async def content(self, backend: Backend, job: Job, found: Found) -> bytes:
        """What became of an output."""
        ...


class StagedHarness:
    """Of backends whose workspaces are written and read by the server."""

    async def staged(
        self, backend: Backend, job: Job, plan: Plan, files: Mapping[str, bytes]
    ) -> Plan:
        """Through the workspace."""
        workspace = backend.workspace(job)
        assert workspace
        for mount in plan.mounts:
            await workspace.make_directory(mount.source)
        for file, content in files.items():
            assert await workspace.write(file, pieces(content)) == len(content)
        return plan

    async def content(self, backend: Backend, job: Job, found: Found) -> bytes:
        """Through the workspace."""
        workspace = backend.workspace(job)
        assert workspace
        async with workspace.open(found.file) as stream:
            return b"".join([chunk async for chunk in stream.chunks])


class LocalHarness(StagedHarness):
    """Processes of this machine."""

    def __init__(self, directory: Path, runtime: Runtime) -> None:
        directory.mkdir(exist_ok=True)
        self.runtime = runtime
        self.root = directory / "work"
        self._command = [sys.executable, "-I", "-S", str(build(directory))]

    def opened(self) -> LocalBackend:
        """A backend with a warm process of its own."""
        capacity = Capacity(4, 4, 10**9)
        return LocalBackend("local@here", self.root, self._command, self.runtime, capacity)

    def place(self, job: Job) -> Path:
        """Where the backend says."""
        return Path(job.place)

    def directory(self, job: Job) -> Path:
        """The workspace is all."""
        return Path(job.place)


class RestHarness(StagedHarness):
    """Jobs of a Pulsar over REST."""

    def __init__(self, pulsar: PulsarServer, runtime: Runtime, **settings: Any) -> None:
        self.pulsar, self.runtime = pulsar, runtime
        self.settings = PulsarSettings(
            **{
                **{"name": "here", "url": pulsar.url, "token": pulsar.token},
                **{"runtime": runtime.kind, "python": sys.executable},
                **settings,
            }
        )

    def opened(self, silence_seconds: float = 60.0) -> RestPulsar:
        """A client of its own."""
        return RestPulsar(self.settings, self.runtime, silence_seconds=silence_seconds)

    def place(self, job: Job) -> Path:
        """Below the staging directory."""
        return self.pulsar.workspace(job.place)

    def directory(self, job: Job) -> Path:
        """Pulsar's directory of the job."""
        return self.place(job).parents[1]


class Attempt:
    """One attempt of a test, through a backend object of a harness."""

    def __init__(self, harness: Harness, backend: Backend, handle: str = "") -> None:
        self.harness, self.backend = harness, backend
        self.handle = handle or f"{uuid.uuid4().hex}-1"
        self.job = Job(self.handle, "")

    async def prepare(self, epoch: int = 1) -> "Attempt":
        """Make its workspace."""
        self.job = await self.backend.prepare(self.handle, epoch, Needs())
        return self

    def plan(self, *scripts: str, image: str = "none", **more: Any) -> Plan:
        """Executors that run scripts, /o being the one writable directory."""
        executors = [Executor(image, ["bash", "-c", script]) for script in scripts]
        mounts = [Mount(ROOT, "/o", True)]
        runtime = self.harness.runtime
        beats = {"heartbeat_seconds": 0.5, **more}
        return Plan(self.handle, self.handle, runtime, executors, mounts)._replace(**beats)

    async def submit(self, plan: Plan, files: Mapping[str, bytes] | None = None) -> "Attempt":
        """Stage, and start."""
        plan = await self.harness.staged(self.backend, self.job, plan, files or {})
        await self.backend.submit(self.job, plan)
        return self

    async def start(self, *scripts: str, **more: Any) -> "Attempt":
        """From nothing to started."""
        await self.prepare()
        return await self.submit(self.plan(*scripts, **more))

    async def end(self, backend: Backend | None = None) -> Ended:
        """Follow it to its end."""
        async with asyncio.timeout(_END_SECONDS):
            async for seen in (backend or self.backend).watch(self.job):
                if isinstance(seen, Ended):
                    return seen
        raise AssertionError("the watch ended without an end")

    async def result(self) -> Result:
        """The runner's result."""
        ended = await self.end()
        assert ended.result, ended.reason
        return ended.result

    async def outputs(self, result: Result) -> dict[str, bytes]:
        """What was found, by its path."""
        return {
            found.path: await self.harness.content(self.backend, self.job, found)
            for found in result.found
        }

    def kill_runner(self) -> None:
        """SIGKILL to the runner, as the kernel does where memory is short."""
        claim = self.harness.place(self.job) / CLAIM_FILE
        wait_until(lambda: claim.exists() and claim.read_bytes(), "a claim")
        os.kill(json.loads(claim.read_text())["pid"], signal.SIGKILL)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """There is something in its directory that stays there when all is removed, until then."""
        place = self.harness.directory(self.job) / "metadata/busy"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        (place / "file").touch()

        def let_go() -> None:
            wait_until(lambda: not (place / "file").exists(), "it is removed for the first time")
            subprocess.run(["umount", "--lazy", place], check=True)

        holding = threading.Thread(target=let_go)
        holding.start()
        yield
        holding.join()

    def remains(self) -> bool:
        """Whether anything of it is on the disk."""
        return self.harness.directory(self.job).exists()


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """A stream."""
    for start in range(0, len(content), 65536):
        yield content[start : start + 65536]


def processes_of(handle: str) -> list[str]:
    """The processes of this machine that belong to an attempt's commands."""
    mark = f"TESP_HANDLE={handle}\0".encode()
    return [p.parent.name for p in Path("/proc").glob("[0-9]*/environ") if mark in _environ(p)]


def _environ(file: Path) -> bytes:
    try:
        return file.read_bytes() + b"\0"
    except OSError:
        return b""
