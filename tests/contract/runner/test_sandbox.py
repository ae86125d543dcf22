"""What the sandbox shows of the machine, and to whom."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesp.runner import plan as p
from tesp.runner.plan import Limits, Output
from tests.contract.runner.node import Node, Workspace

UNPRIVILEGED = 54321
SETPRIV = shutil.which("setpriv") or "setpriv"
# One that every user may start: not always so for the tests' own.
PYTHON = shutil.which("python3", path="/usr/bin:/bin:/usr/local/bin") or "python3"


def said(ws: Workspace) -> str:
    return ws.tail("0.stdout").decode()


def test_secrets_of_the_machine_are_not_there(sandbox: Node) -> None:
    ws = sandbox.workspace()
    files = "/etc/shadow /etc/gshadow /etc/ssl/private /etc/ssh /root /home /var/lib /sys/kernel"
    ws.run(sandbox.plan(sandbox.shell(f"ls -d {files} 2>/dev/null; echo end")))
    assert said(ws) == "end\n"


def test_the_machines_own_files_are_read_only_and_tmp_is_not(sandbox: Node) -> None:
    ws = sandbox.workspace()
    script = "touch /usr/x /etc/hosts 2>/dev/null || echo no; touch /tmp/x /var/tmp/x && echo yes"
    ws.run(sandbox.plan(sandbox.shell(script)))
    assert said(ws) == "no\nyes\n"
    assert not Path("/tmp/x").exists() or Path("/tmp/x").stat().st_mtime < ws.claim()["time"]


def test_other_processes_and_our_files_are_out_of_reach(sandbox: Node) -> None:
    ws = sandbox.workspace()
    ws.run(sandbox.plan(sandbox.shell("ls -d /proc/[0-9]* | wc -l; ls -l /proc/self/fd; echo end")))
    lines = said(ws).splitlines()
    assert int(lines[0]) < 6
    opened = [line.split(" -> ")[1] for line in lines if " -> " in line]
    assert not [f for f in opened if str(ws.path) in f]
    assert len(opened) <= 4  # the three streams, and the listing's own


def test_names_resolve_on_the_shared_network_and_not_without_it(sandbox: Node) -> None:
    ws, cut = sandbox.workspace(), sandbox.workspace()
    script = "cat /etc/hosts > /dev/null && tail -n +3 /proc/net/dev | wc -l"
    ws.run(sandbox.plan(sandbox.shell(script)))
    runtime = sandbox.runtime._replace(network="none")
    cut.run(sandbox.plan(sandbox.shell(script), runtime=runtime))
    assert int(said(ws)) == len(list(Path("/sys/class/net").iterdir()))
    assert int(said(cut)) == 1


def test_limits_hold_for_all_processes_of_a_command(sandbox: Node) -> None:
    ws = sandbox.workspace()
    script = "yes > /dev/null & yes > /dev/null & sleep 1"
    result = ws.run(sandbox.plan(sandbox.shell(script), limits=Limits(cpus=0.2)))
    assert 0.05 < (result.executors[0].cpu_seconds or 0) < 0.6
    assert result.warnings == []


def test_a_user_who_is_not_root_can_use_it(sandbox: Node) -> None:
    ws = sandbox.workspace()
    plan = sandbox.plan(
        sandbox.shell("id -u; echo x > /data/made"),
        outputs=[Output("/data/made")],
        limits=Limits(cpus=1),
    )
    ws.write(plan)
    ws.python = PYTHON
    base = Path("/tmp")
    for folder in [f for f in [*ws.path.parents, *_pyz(ws).parents] if base in f.parents]:
        folder.chmod(folder.stat().st_mode | 0o011)
    for path in [ws.path, *ws.path.rglob("*")]:
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
    become = [SETPRIV, f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups"]
    assert ws.start(become).wait(60) == 0
    result = ws.result()
    assert result.status == p.FINISHED, result
    assert [f.path for f in result.found] == ["/data/made"]
    assert said(ws) == f"{UNPRIVILEGED}\n"
    assert "cannot limit" in result.warnings[0]
    assert result.executors[0].cpu_seconds is not None


def _pyz(ws: Workspace) -> Path:
    return Path(ws.command("run")[-3])


@pytest.fixture
def small_disk(sandbox: Node) -> Iterator[Workspace]:
    """A workspace whose root has room for a megabyte."""
    ws = sandbox.workspace()
    ws.files.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", ws.files], check=True)
    yield ws
    subprocess.run(["umount", ws.files], check=True)


def test_a_full_disk_ends_the_command_and_is_told(sandbox: Node, small_disk: Workspace) -> None:
    result = small_disk.run(sandbox.plan(sandbox.executor("yes", stdout="/data/out")))
    assert (result.status, result.reason) == (p.FAILED, p.DISK_FULL)
    assert "No space left" in str(result.message)
