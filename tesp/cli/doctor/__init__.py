"""`tesp doctor`: what works on this machine, and the mend for what does not."""

from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.codes import Code
from tesp.cli.configuration import DataDir, SettingsFile, configured
from tesp.cli.terminal import show_json, show_table

if TYPE_CHECKING:
    from tesp.cli.doctor.findings import Finding
    from tesp.settings import Settings


def doctor(
    settings_file: SettingsFile = None,
    data: DataDir = None,
    allow_sandbox: Annotated[
        bool | None, typer.Option("--allow-sandbox", help="As `tesp serve --allow-sandbox`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Look what works on this machine, with the mend for what does not.

    Exit code 0 where nothing fails, else 6.

    Example: tesp doctor --settings settings.toml
    """
    import asyncio

    settings = configured(settings_file, data, local={"allow_sandbox": allow_sandbox})
    findings = asyncio.run(_examine(settings))
    if as_json:
        show_json([_document(f) for f in findings])
    else:
        rows = [(f.what, f.verdict.value, f.found, f.mend) for f in findings]
        show_table(("CHECK", "", "FOUND", "WHAT TO DO"), rows)
    if any(f.verdict == "fail" for f in findings):
        raise typer.Exit(Code.BROKEN)


async def _examine(settings: "Settings") -> "list[Finding]":
    import asyncio
    import logging

    from tesp.cli.doctor.bus import bus_findings
    from tesp.cli.doctor.certificate import certificate_findings
    from tesp.cli.doctor.machine import machine_findings
    from tesp.cli.doctor.notifications import notification_findings
    from tesp.cli.doctor.pulsars import pulsar_findings
    from tesp.cli.doctor.runtimes import runtime_findings
    from tesp.cli.doctor.storage import storage_findings
    from tesp.cli.doctor.store import store_findings

    # Libraries complain of what is a finding here.
    logging.getLogger().addHandler(logging.NullHandler())
    parts = (
        runtime_findings,
        pulsar_findings,
        machine_findings,
        certificate_findings,
        store_findings,
        storage_findings,
        bus_findings,
        notification_findings,
    )
    found = await asyncio.gather(*(part(settings) for part in parts))
    return [finding for part in found for finding in part]


def _document(finding: "Finding") -> dict[str, str]:
    return {
        "check": finding.what,
        "verdict": finding.verdict.value,
        "found": finding.found,
        "mend": finding.mend,
    }
