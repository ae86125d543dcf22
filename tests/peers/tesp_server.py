"""tesp itself as a process: started, killed and started again like an operator's."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.peers.room import LONG_SECONDS, free_port, wait_until
from tests.peers.warm import WarmProgram

Document = dict[str, Any]
TERMINAL = frozenset({"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED", "PREEMPTED"})
_PROGRAM = Path(sys.executable).with_name("tesp")


class TespServer:
    """`tesp serve` on a free port, with its data and settings in `directory`.

    `listener` is kept open for it, as a service manager does: who comes while it is away waits.
    `warm`: it need not load its parts anew.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, Any],
        role: str = "all",
        listener: socket.socket | None = None,
        *,
        warm: bool = True,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data = directory / "data"
        self._listener, self._warm = listener, warm
        self.port: int = listener.getsockname()[1] if listener else free_port()
        certificate = settings.get("server", {}).get("certificate")
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        self.log = directory / "server.log"
        self._role = role
        self._settings = directory / "settings.toml"
        self._settings.write_text(f"default = {toml(settings)}\n")
        self._process: subprocess.Popen[bytes] | WarmProgram | None = None
        trusted = ssl.create_default_context(cafile=certificate) if certificate else False
        base = f"{self.url}/ga4gh/tes/v1"
        self.client = httpx.Client(base_url=base, timeout=30, verify=trusted)

    def start(self) -> "TespServer":
        """Start it, and wait until it answers."""
        argv = [str(_PROGRAM), "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--data", str(self.data), "--settings", str(self._settings), "--role", self._role]
        env = {k: v for k, v in os.environ.items() if not k.startswith("TESP_")}
        if self._warm and self._listener is None:
            self._process = WarmProgram(argv, env, self.log)
        else:
            self._process = self._as_a_program(argv, env)
        if self._role != "dispatcher":
            wait_until(self._answers, "service-info")
        return self

    def _as_a_program(self, argv: list[str], env: dict[str, str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*self._handing_over(), *argv],
                pass_fds=[self._listener.fileno()] if self._listener else [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
            )

    def _handing_over(self) -> list[str]:
        """What goes before a command that takes the listener, as systemd hands it over."""
        if self._listener is None:
            return []
        script = 'exec 3<&"$0"; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
        return ["bash", "-c", script, str(self._listener.fileno())]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"tesp ended at its start:\n{self.log.read_text()[-4000:]}")
        try:
            return self.client.get("/service-info").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def pid(self) -> int:
        """The process."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """SIGKILL: what a crash or a power cut leaves behind."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(30)
        self._process = None
        return code

    def submit(self, task: Mapping[str, Any], **headers: str) -> str:
        """Create a task; its id."""
        answer = self.client.post("/tasks", json=task, headers=headers)
        assert answer.status_code == 200, answer.text
        task_id: str = answer.json()["id"]
        return task_id

    def get(self, task_id: str, view: str = "FULL") -> Document:
        """One task."""
        answer = self.client.get(f"/tasks/{task_id}", params={"view": view})
        assert answer.status_code == 200, answer.text
        document: Document = answer.json()
        return document

    def state(self, task_id: str) -> str:
        """The state of a task."""
        state: str = self.get(task_id, "MINIMAL")["state"]
        return state

    def wait(self, task_id: str, *states: str, seconds: float = LONG_SECONDS) -> Document:
        """Wait for one of the states (any terminal one by default); the FULL task."""
        wanted = frozenset(states) or TERMINAL
        try:
            wait_until(lambda: self.state(task_id) in wanted, f"{task_id} {set(wanted)}", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(self.get(task_id), indent=1)}") from error
        return self.get(task_id)

    def run(self, task: Mapping[str, Any], seconds: float = LONG_SECONDS) -> Document:
        """Create a task and wait for its end."""
        return self.wait(self.submit(task), seconds=seconds)

    def cancel(self, task_id: str) -> None:
        """Ask for the end of a task."""
        answer = self.client.post(f"/tasks/{task_id}:cancel")
        assert answer.status_code == 200, answer.text

    def leftovers(self) -> list[str]:
        """Workspaces that are still there."""
        return sorted(p.name for p in (self.data / "work").glob("*"))


def toml(value: Any) -> str:
    """A value in TOML; JSON's strings, numbers and booleans are TOML's too."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)
