"""The run of a workspace's plan: once, whoever asks for it, and how often."""

from typing import Optional

from tesp.runner import identity, orphans, siblings, workspace
from tesp.runner.attempt import Attempt
from tesp.runner.plan import DISK_FULL, FAILED, INTERNAL, Plan, Result
from tesp.runner.streams import is_full, note
from tesp.runner.watch import Watch


def run() -> int:
    """Run the plan of this workspace, unless a runner ever took it. Never raises for a task."""
    once()
    return 0


def once(in_foreground: bool = False) -> Optional[Result]:
    """Run it and write the result; None where another runner took it.

    `in_foreground`: stay in the session of who started us, and take the plan that is packed
    with us where the workspace has none.
    """
    owner = identity.current()
    if not workspace.claim(owner):
        return None
    workspace.detach(lead=not in_foreground)
    try:
        if in_foreground:
            workspace.unpack_plan()
        plan = workspace.load_plan()
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = DISK_FULL if is_full(error) else INTERNAL
        message = "The plan cannot be read: %r." % error
        return _written(Result("", FAILED, reason=reason, message=message))
    if in_foreground:
        siblings.sweep_in_background()
    return _carry_out(plan, owner)


def _carry_out(plan: Plan, owner: identity.Owner) -> Result:
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
    _written(result)
    attempt.tidy()
    if watchdog is not None:
        watchdog.dismiss()
    return result


def _written(result: Result) -> Result:
    """The result, in its file too, unless there is no room even for that."""
    try:
        workspace.write_result(result)
    except OSError as error:
        note("the result cannot be written: %r" % error)
    return result
