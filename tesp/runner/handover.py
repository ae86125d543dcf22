"""The last way of what was found: laid out for those who fetch it, or sent by ourselves."""

from tesp.runner.plan import Plan, Result
from tesp.runner.watch import Watch


def hand_over(plan: Plan, result: Result, watch: Watch) -> Result:
    """The result when the plan's wishes for what was found are done, as far as that went."""
    if plan.publish:
        from tesp.runner.published import publish  # here: others start without it

        result = result._replace(found=publish(result.found))
    if plan.send_url is not None:
        from tesp.runner.errands import send_all

        sent = send_all(result.found, plan.send_url, watch)
        result = result._replace(sent=sent.indexes, send_error=sent.error)
        if sent.ended is not None:
            return result._replace(status=sent.ended.status)
    return result
