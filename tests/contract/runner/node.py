"""A node as the tests see it: workspaces, and the packed runner that runs them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tesp.runner import plan as p
from tesp.runner.plan import Executor, Mount, Plan, Result, Runtime

DEADLINE_SECONDS = 60.0


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """Look until there is something to see."""
    until = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < until:
        if seen := look():
            return seen
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come about in {DEADLINE_SECONDS} seconds")


class Workspace:
    """One workspace with one root, seen by the container at `root`."""

    def __init__(self, path: Path, environ: dict[str, str], pyz: Path) -> None:
        self.path = path
        self.files = path / "roots" / "0"
        self._environ = environ
        self._pyz = pyz
        self.python = sys.executable

    def write(self, plan: Plan) -> None:
        """Write the plan, and make its directories."""
        for mount in plan.mounts:
            if not mount.source.startswith("/") and not (self.path / mount.source).exists():
                (self.path / mount.source).mkdir(parents=True)
        (self.path / p.PLAN_FILE).write_text(json.dumps(plan.to_json()))

    def start(self, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the runner as a server does."""
        return self._spawn("run", prefix)

    def run(self, plan: Plan, prefix: Sequence[str] = ()) -> Result:
        """Run a plan to its end."""
        self.write(plan)
        assert self.start(prefix).wait(DEADLINE_SECONDS) == 0, self.log()
        return self.result()

    def remove(self, prefix: Sequence[str] = ()) -> None:
        """What the server does after a runner's death."""
        assert self._spawn("remove", prefix).wait(DEADLINE_SECONDS) == 0

    def sweep(self) -> None:
        """What each start of a runner does from time to time."""
        assert self._spawn("sweep", ()).wait(DEADLINE_SECONDS) == 0

    def result(self) -> Result:
        """The result; fails where there is none."""
        return Result.from_json(json.loads((self.path / p.RESULT_FILE).read_text()))

    def has_result(self) -> bool:
        """Whether the runner is through."""
        return (self.path / p.RESULT_FILE).exists()

    def cancel(self) -> None:
        """Ask for the end, as a server does that cannot send a signal."""
        (self.path / p.CANCEL_FILE).touch()

    def claim(self) -> dict[str, Any]:
        """Who runs it."""
        return wait_for(self._claim, "a claim")

    def _claim(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads((self.path / p.CLAIM_FILE).read_text())
        except (FileNotFoundError, ValueError):
            return None
        return found

    def tail(self, name: str) -> bytes:
        """A tail as it is now."""
        file = self.path / p.TAILS_DIR / name
        return file.read_bytes() if file.exists() else b""

    def log(self) -> str:
        """The runner's own words."""
        return (self.path / p.LOG_FILE).read_text()

    def _spawn(self, verb: str, prefix: Sequence[str]) -> subprocess.Popen[bytes]:
        command = [*prefix, *self.command(verb)]
        return subprocess.Popen(command, env=self._environ, cwd="/", start_new_session=True)

    def command(self, verb: str) -> list[str]:
        """The runner's command line."""
        return [self.python, "-I", "-S", "-E", str(self._pyz), verb, str(self.path)]


class Node:
    """Makes workspaces and plans for one runtime."""

    def __init__(
        self, directory: Path, runtime: Runtime, image: str, environ: dict[str, str], pyz: Path
    ) -> None:
        self.runtime = runtime
        self.image = image
        self.environ = environ
        self._directory = directory
        self._pyz = pyz
        self._count = 0

    def workspace(self) -> Workspace:
        """A new, empty one."""
        self._count += 1
        path = self._directory / f"ws-{self._count}"
        path.mkdir()
        return Workspace(path, self.environ, self._pyz)

    def executor(self, *command: str, **fields: Any) -> Executor:
        """One command in the usual image."""
        return Executor(fields.pop("image", self.image), list(command), **fields)

    def shell(self, script: str, **fields: Any) -> Executor:
        """A shell script in the usual image."""
        return self.executor("sh", "-c", script, **fields)

    def plan(self, *executors: Executor, **fields: Any) -> Plan:
        """A plan with a writable root at /data."""
        self._count += 1
        handle = fields.pop("handle", f"{os.getpid()}-{self._directory.name}-{self._count}")
        mounts = fields.pop("mounts", [Mount("roots/0", "/data", True)])
        runtime = fields.pop("runtime", self.runtime)
        return Plan("task-1", handle, runtime, list(executors), mounts, **fields)
