"""What `tesp serve` says when it is ready. Pure."""

from collections.abc import Sequence
from pathlib import Path

from tesp.cli.address import PREFIX

_TASK = '{"executors": [{"image": "busybox", "command": ["echo", "hello"]}]}'
_LOUD = (
    "NOT IN CONTAINERS: tasks run in a sandbox over this machine's own programs; an executor's\n"
    "image is only a label. Install Docker, Podman or Apptainer for the real thing.\n"
)


def banner(
    url: str | None, runtime: str | None, data_dir: Path, pulsars: Sequence[str] = ()
) -> str:
    """Where the service is, what runs its tasks, and commands to try; url None: no API here."""
    kept = data_dir.absolute()
    places = [*([runtime] if runtime else []), *(f"the Pulsar {name}" for name in pulsars)]
    if url is None:
        return f"tesp dispatches tasks to {', '.join(places)}. It keeps its files in {kept}.\n"
    where = _reachable(url)
    runs = f"Tasks run with {', '.join(places)}." if places else "Other processes run the tasks."
    return f"""
tesp is ready: {where}{PREFIX}  (try it in a browser: {where}/)
{runs} Everything is kept in {kept}.
{_LOUD if runtime == "sandbox" else ""}
A first task, and how it ended:

  id=$(curl -s {where}{PREFIX}/tasks -H 'Content-Type: application/json' \\
    -d '{_TASK}' | sed 's/.*"id": *"\\([^"]*\\)".*/\\1/')
  sleep 1; curl -s "{where}{PREFIX}/tasks/$id?view=FULL"

Ctrl-C ends the service; tasks that run go on, and the next start takes them up.
"""


def _reachable(url: str) -> str:
    """An address to connect to: one that is listened on for all is none."""
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
