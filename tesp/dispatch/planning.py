"""The runner's plan for a task, and what staging and running found out of its files. Pure."""

from collections.abc import Mapping, Sequence

from tesp.dispatch.layout import Layout
from tesp.runner.plan import Limits, Plan, Runtime
from tesp.staging import FileType
from tesp.store import Needs
from tesp.tes.models import TaskSubmission


def plan_of(task_id: str, handle: str, layout: Layout, needs: Needs, runtime: Runtime) -> Plan:
    """All that the runner needs to know."""
    return Plan(
        task=task_id,
        handle=handle,
        runtime=runtime,
        executors=list(layout.executors),
        mounts=list(layout.mounts),
        outputs=list(layout.outputs),
        limits=_limits(needs),
        directories=list(layout.directories),
    )


def _limits(needs: Needs) -> Limits:
    """What was not asked for is not limited."""
    timeout = needs.parameters.get("timeout")
    return Limits(
        cpus=needs.cpus or None,
        memory_bytes=needs.ram_bytes or None,
        disk_bytes=needs.disk_bytes or None,
        time_seconds=float(timeout) if timeout else None,
        gpus=needs.parameters.get("gpus"),
    )


def with_input_types(task: TaskSubmission, types: Mapping[str, FileType]) -> TaskSubmission:
    """The task with the types that its inputs turned out to have, each under its field."""
    inputs = [
        item.model_copy(update={"type": types[f"inputs[{number}]"]})
        for number, item in enumerate(task.inputs or ())
    ]
    return task.model_copy(update={"inputs": inputs}) if inputs else task


def with_output_types(task: TaskSubmission, types: Sequence[str | None]) -> TaskSubmission:
    """The task with the types that its outputs turned out to have, where they are there."""
    known = zip(task.outputs or (), types, strict=False)
    outputs = [o.model_copy(update={"type": t or o.type}) for o, t in known]
    complete = len(outputs) == len(task.outputs or ())
    return task.model_copy(update={"outputs": outputs}) if outputs and complete else task
