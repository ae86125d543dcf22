"""The runner's command line: `run`, `remove` and `sweep`, each with a workspace; `serve`."""

import os
import signal
import sys
import time
from typing import List, Optional

from tesp.runner import identity, nursery, orphans, workspace
from tesp.runner.attempt import Attempt
from tesp.runner.plan import FAILED, INTERNAL, RESULT_FILE, Plan, Result
from tesp.runner.process import kill
from tesp.runner.watch import Watch

USAGE = "usage: runner (run | remove | sweep) WORKSPACE, or: runner serve"
PATIENCE_SECONDS = 40.0  # how long a runner that is told to end may take


def main(arguments: List[str]) -> int:
    """Carry out one command; the exit code is 0 unless it could not be carried out at all."""
    commands = {"run": run, "remove": remove, "sweep": sweep}
    if arguments == ["serve"]:
        return nursery.serve(run)
    if len(arguments) != 2 or arguments[0] not in commands:
        print(USAGE, file=sys.stderr)
        return 2
    os.chdir(arguments[1])
    return commands[arguments[0]]()


def run() -> int:
    """Run the plan of this workspace, unless a runner ever took it. Never raises for a task."""
    owner = identity.current()
    if not workspace.claim(owner):
        return 0
    workspace.detach()
    try:
        plan = workspace.load_plan()
    except (OSError, KeyError, TypeError, ValueError) as error:
        workspace.write_result(
            Result("", FAILED, reason=INTERNAL, message="The plan cannot be read: %r." % error)
        )
        return 0
    _carry_out(plan, owner)
    return 0


def _carry_out(plan: Plan, owner: identity.Owner) -> None:
    """From the first executor to the durable result, and then the room swept."""
    watch = Watch(plan.limits.time_seconds)
    watch.listen()
    orphans.sweep_in_background(plan)
    watchdog = None
    if orphans.needs_watchdog(plan):
        watchdog = orphans.Watchdog(lambda: orphans.remove(plan))
    heartbeat = workspace.Heartbeat(plan.heartbeat_seconds)
    attempt = Attempt(plan, owner.label(), watch)
    result = attempt.carry_out()
    heartbeat.stop()
    workspace.write_result(result)
    attempt.tidy()
    if watchdog is not None:
        watchdog.dismiss()


def remove() -> int:
    """End the runner of this workspace, and whatever it left. It may be called again."""
    plan = _plan()
    owner = workspace.claimant()
    if owner is not None and not os.path.exists(RESULT_FILE):
        _end(owner)
    if plan is not None:
        orphans.remove(plan)
        orphans.make_ours(plan)
    return 0


def sweep() -> int:
    """Remove what dead runners of this host left, at the runtime of this workspace's plan."""
    orphans.sweep(workspace.load_plan())
    return 0


def _plan() -> Optional[Plan]:
    try:
        return workspace.load_plan()
    except (OSError, KeyError, TypeError, ValueError):
        return None


def _end(owner: identity.Owner) -> None:
    """Tell a runner that lives on this host to end, and insist."""
    here = identity.current()
    if (owner.boot, owner.namespace) != (here.boot, here.namespace):
        return
    for number, seconds in ((signal.SIGTERM, PATIENCE_SECONDS), (signal.SIGKILL, 5.0)):
        until = time.monotonic() + seconds
        if identity.start_of(owner.pid) == owner.start:
            kill(owner.pid, number)
        while identity.start_of(owner.pid) == owner.start and time.monotonic() < until:
            time.sleep(0.02)
