"""Nextflow with nf-ga4gh 1.4.2, replayed: what it writes, sends and reads for each process.

Nextflow itself cannot be had here. The bodies, the paths and the order of its requests are those
of the plugin's source; so are the words it logs when a task has failed.
"""

import dataclasses
import io
import subprocess
import tarfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.peers.docker_engine import DockerEngine, busybox_image
from tests.peers.room import wait_until

Document = dict[str, Any]
WORK = "/work"
COMPLETE = frozenset({"COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED"})
_STARTED = COMPLETE | {"INITIALIZING", "RUNNING", "PAUSED"}
_GIBIBYTE = 1 << 30

# The way of Nextflow's own wrapper: the script's two streams go through pipes with names into
# files and on, and its exit code is written last of all.
_WRAPPER = """\
#!/bin/bash
# NEXTFLOW TASK: {name}
set -e
set -u
NXF_CHDIR={work}
{environment}
nxf_launch() {{
    /bin/bash -ue {work}/.command.sh
}}
on_exit() {{
    exit_status=${{nxf_main_ret:=$?}}
    printf -- "$exit_status" > .exitcode
    exit $exit_status
}}
nxf_main() {{
    trap on_exit EXIT
    cd "$NXF_CHDIR"
    > .command.begin
    cout=$PWD/.command.po; mkfifo $cout
    cerr=$PWD/.command.pe; mkfifo $cerr
    tee .command.out < $cout &
    tee1=$!
    tee .command.err < $cerr >&2 &
    tee2=$!
    set +e
    nxf_launch >$cout 2>$cerr
    nxf_main_ret=$?
    wait $tee1 $tee2
    rm -f $cout $cerr
}}
nxf_main
"""
_BIN = """\
mkdir -p $PWD/nextflow-bin/
cp -r {bin}/* $PWD/nextflow-bin/
chmod +x $PWD/nextflow-bin/* || true
export PATH=$PWD/nextflow-bin:$PATH
"""


class WorkDirectory(Protocol):
    """Where Nextflow keeps its files: a URL as it writes it, and the bytes there."""

    def url(self, name: str) -> str:
        """A path as Nextflow sends it."""

    def write(self, name: str, content: bytes) -> None:
        """Store a file."""

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""


@dataclasses.dataclass(frozen=True)
class SharedDirectory:
    """A directory of a file system that the server sees as well."""

    path: Path

    def url(self, name: str) -> str:
        """A bare path: a local path has no scheme in Nextflow."""
        return str(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        """Store a file."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def read(self, name: str) -> bytes | None:
        """A file's bytes; None where there is none."""
        file = self.path / name
        return file.read_bytes() if file.is_file() else None


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A bucket of S3."""

    client: Any
    name: str

    def url(self, name: str) -> str:
        """The URL of a key."""
        return f"s3://{self.name}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Store an object."""
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def read(self, name: str) -> bytes | None:
        """An object's bytes; None where there is none."""
        try:
            body: bytes = self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        except self.client.exceptions.NoSuchKey:
            return None
        return body


@dataclasses.dataclass(frozen=True)
class Process:
    """One call of a process. `inputs` maps the names in the task to names in the work
    directory, a directory's with a `/` behind; `outputs` are globs, a directory's likewise."""

    name: str
    script: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    outputs: Sequence[str] = ()
    container: str = "quay.io/nextflow/bash"


class Submitted:
    """A task of the run, polled as the plugin does."""

    def __init__(self, client: httpx.Client, work: WorkDirectory, folder: str, id: str) -> None:
        self._client, self._work, self.folder, self.id = client, work, folder, id
        self.message = ""
        self.exit_status: int | None = None

    def poll(self) -> bool:
        """One look, without a view; at the end the one in FULL."""
        answer = self._client.get(f"/v1/tasks/{self.id}")
        assert answer.status_code == 200, answer.text
        state = answer.json()["state"]
        if state in COMPLETE:
            self.exit_status = self._exit_status()
            return True
        assert state in _STARTED or state == "QUEUED", state
        return False

    def wait(self) -> "Submitted":
        """Poll until it has ended."""
        wait_until(self.poll, f"{self.id} ends for Nextflow")
        return self

    def _exit_status(self) -> int:
        task = self._client.get(f"/v1/tasks/{self.id}", params={"view": "FULL"}).json()
        if task["state"] == "COMPLETE":
            return 0
        log = task["logs"][0]
        if task["state"] == "EXECUTOR_ERROR":
            self.message = str(log["logs"][0])
            code: int = log["logs"][0]["exit_code"]
            return code
        self.message = f"{log}.\nDefaulting exit_code to 1."
        return 1

    def read(self, name: str) -> bytes | None:
        """A file of the task's own directory."""
        return self._work.read(f"{self.folder}/{name}")

    def cancel(self) -> None:
        """As on Ctrl-C: a POST without a body."""
        assert self._client.post(f"/v1/tasks/{self.id}:cancel").status_code == 200


class Nextflow:
    """A run: `work` is its work directory, `scripts` what the pipeline has in `bin/`."""

    def __init__(
        self, endpoint: str, work: WorkDirectory, scripts: Mapping[str, str] | None = None
    ) -> None:
        self._client = httpx.Client(base_url=endpoint, timeout=10)
        self._work = work
        self._scripts = scripts or {}
        self._run = uuid.uuid4().hex[:6]
        for name, text in self._scripts.items():
            work.write(f"tmp/{self._run}/bin/{name}", text.encode())

    def submit(self, process: Process) -> Submitted:
        """Write the task's control files, and create it."""
        folder = f"{uuid.uuid4().hex[:2]}/{uuid.uuid4().hex}"
        script = f"#!/bin/bash -ue\n{process.script}\n"
        self._work.write(f"{folder}/.command.sh", script.encode())
        wrapper = _WRAPPER.format(name=process.name, work=WORK, environment=self._environment())
        self._work.write(f"{folder}/.command.run", wrapper.encode())
        # An endpoint that ends in a slash gives two of them, as in the plugin.
        url = f"{self._client.base_url!s}/v1/tasks"
        answer = self._client.post(url, json=self._task(process, folder))
        assert answer.status_code == 200, answer.text
        return Submitted(self._client, self._work, folder, answer.json()["id"])

    def _environment(self) -> str:
        return _BIN.format(bin=self._bin_path()) if self._scripts else ""

    def _bin_path(self) -> str:
        """The path of the uploaded scripts, which is their path in the task as well."""
        return self._work.url(f"tmp/{self._run}/bin").removeprefix("s3:/")

    def _task(self, process: Process, folder: str) -> Document:
        control = [".command.sh", ".command.run"]
        streams = [".command.out", ".command.err", ".command.log", ".exitcode"]
        piped = f"bash {WORK}/.command.run 2>&1 | tee {WORK}/.command.log"
        return {
            "name": process.name,
            "inputs": [
                *(self._input(name, f"{folder}/{name}") for name in control),
                *(self._script(name) for name in self._scripts),
                *(self._input(name, source) for name, source in process.inputs.items()),
            ],
            "outputs": [
                *(self._output(folder, name) for name in streams),
                *(
                    {**self._output(folder, o.rstrip("/")), "type": _type(o)}
                    for o in process.outputs
                ),
            ],
            "resources": {
                "cpu_cores": 1,
                "ram_gb": (512 << 20) / _GIBIBYTE,
                "backend_parameters_strict": False,
            },
            "executors": [
                {
                    "image": process.container,
                    "command": ["bash", "-o", "pipefail", "-c", piped],
                    "workdir": WORK,
                }
            ],
        }

    def _input(self, name: str, source: str) -> Document:
        url = self._work.url(source.rstrip("/"))
        return {"url": url, "path": f"{WORK}/{name}", "type": _type(source)}

    def _script(self, name: str) -> Document:
        url = self._work.url(f"tmp/{self._run}/bin/{name}")
        return {"url": url, "path": f"{self._bin_path()}/{name}", "type": "FILE"}

    def _output(self, folder: str, name: str) -> Document:
        if "*" in name or "?" in name:
            return {"path": f"{WORK}/{name}", "path_prefix": WORK, "url": self._work.url(folder)}
        return {"path": f"{WORK}/{name}", "url": self._work.url(f"{folder}/{name}")}

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


def _type(name: str) -> str:
    return "DIRECTORY" if name.endswith("/") else "FILE"


def image_with_bash(engine: DockerEngine, name: str = "tesp-test/bash:1") -> str:
    """Import busybox with the machine's own bash: what Nextflow asks of an image."""
    out = io.BytesIO(busybox_image())
    with tarfile.open(fileobj=out, mode="a") as tar:
        for path in ("/bin/bash", *_libraries("/bin/bash")):
            tar.add(Path(path).resolve(), arcname=path.lstrip("/"))
    engine.cli("import", "-", name, stdin=out.getvalue())
    return name


def _libraries(program: str) -> list[str]:
    """The shared libraries of a program, its loader among them."""
    said = subprocess.run(["ldd", program], capture_output=True, check=True, text=True).stdout
    words = [word for line in said.splitlines() for word in line.split()]
    return [word for word in words if word.startswith("/")]
