"""Which container runtimes work, and which of them would run the tasks."""

import asyncio
from collections.abc import Sequence

from tesp.backends.local.detection import ENGINES, SANDBOX, Detected, choose, detect
from tesp.cli.doctor.findings import Finding, fail, none, ok, warn
from tesp.errors import SettingsError
from tesp.settings import Settings


async def runtime_findings(settings: Settings) -> Sequence[Finding]:
    """Each runtime, tried; then the one that the local backend takes."""
    kinds = (*ENGINES, SANDBOX)
    found = await asyncio.gather(*(detect(kind, settings.containers) for kind in kinds))
    return [*map(_finding, found), await _chosen(settings)]


def _finding(detected: Detected) -> Finding:
    what = f"runtime {detected.kind}"
    if detected.ok:
        return ok(what, f"{detected.program} {detected.version}".strip())
    if not detected.installed:
        return none(what, detected.mend)
    return warn(what, "does not work here", detected.mend)


async def _chosen(settings: Settings) -> Finding:
    what = "local backend"
    if not settings.runs_locally:
        if settings.pulsars:
            return ok(what, "not used: tasks run on the Pulsars")
        mend = "Set local.enabled = true to run tasks here, or add [[pulsars]]."
        return warn(what, "disabled", mend)
    try:
        chosen = await choose(settings.local, settings.containers)
    except SettingsError as error:
        text = str(error).splitlines()
        mend = "See the runtimes above." if settings.local.runtime == "auto" else text[0]
        if settings.local.runtime == "auto" and not settings.local.allow_sandbox:
            mend += " Without containers: `tesp serve --allow-sandbox`."
        return fail(what, "no runtime to run tasks with", mend)
    if chosen.kind == SANDBOX:
        return warn(
            what,
            "tasks would run in a sandbox over this machine's own programs",
            "Install Docker, Podman or Apptainer, for an executor's image to count.",
        )
    return ok(what, f"tasks run with {chosen.kind}")
