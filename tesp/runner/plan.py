"""The contract between the server and the runner: the plan that goes in, the result that
comes out, and the names of the files in a workspace.

Everything here is a plain value that goes to JSON and back. Paths in `source` and `file`
are relative to the workspace unless absolute; paths in `target`, `path`, `workdir`, `stdin`,
`stdout` and `stderr` are the container's. Times are seconds since the epoch (float), sizes
bytes (int). Standard library only, Python 3.6: a node runs this.
"""

from typing import Any, Dict, List, NamedTuple, Optional, Type, TypeVar

SCHEMA = 1

# The files of a workspace. The server writes the first four, the runner all others.
PLAN_FILE = "plan.json"
ROOTS_DIR = "roots"  # writable directories, roots/0, roots/1, ...
DIRECTORIES_DIR = "directories"  # directories in it are made in the workspace before the start
INPUTS_DIR = "inputs"  # read-only inputs outside every root, inputs/0, inputs/1, ...
CLAIM_FILE = "claim"  # exclusive: whoever creates it runs the plan, once
HEARTBEAT_FILE = "heartbeat"  # the time of the last beat as text: a slow node from a dead one
PROGRESS_FILE = "progress.json"  # replaced atomically: see Progress
TAILS_DIR = "tails"  # tails/0.stdout, tails/0.stderr, tails/1.stdout, ...
CANCEL_FILE = "cancel"  # written by the server: end the task (beside SIGTERM)
PUBLISHED_DIR = "published"  # what was found by its name (Plan.publish): published.place_of
RESULT_FILE = "result.json"  # written atomically, last: the truth about the attempt
LOG_FILE = "runner.log"  # the runner's own words

# Result.status
FINISHED = "finished"  # every executor that had to run ran; see the exit codes
TIME_LIMIT = "time_limit"  # ended at the time limit
CANCELED = "canceled"  # ended by SIGTERM or the cancel file
FAILED = "failed"  # the machine failed, not the command: see `reason` and `message`

# Result.reason, where status is FAILED
IMAGE_MISSING = "image_missing"
IMAGE_REFUSED = "image_refused"  # the registry wants credentials, or others
RUNTIME_MISSING = "runtime_missing"  # no such program, or no daemon behind it
RUNTIME_ERROR = "runtime_error"  # the runtime failed before or around the command
DISK_FULL = "disk_full"
FETCH_FAILED = "fetch_failed"  # an input could not be brought in
OUTPUT_REFUSED = "output_refused"  # a link out of the mounts, a FIFO, a device
TOO_MANY_OUTPUTS = "too_many_outputs"  # more files than a report of the job can list
INTERNAL = "internal"

N = TypeVar("N", bound="Any")


def _from_json(kind: Type[N], data: Dict[str, Any]) -> N:
    """Take the known fields of `data`; unknown ones are a newer server's and are ignored."""
    return kind(**{k: v for k, v in data.items() if k in kind._fields})  # type: ignore[no-any-return]


class Mount(NamedTuple):
    """One path of the container: `source` on the node is seen at `target`."""

    source: str
    target: str
    writable: bool = False


class Executor(NamedTuple):
    """One command. `command` is the exact argv; the image's entry point is cleared."""

    image: str
    command: List[str]
    workdir: Optional[str] = None
    stdin: Optional[str] = None
    stdout: Optional[str] = None
    stderr: Optional[str] = None
    env: Dict[str, str] = {}
    ignore_error: bool = False


class Output(NamedTuple):
    """What to look for when the executors have ended.

    `pattern` tells that `path` holds POSIX wildcards; each match is then listed under its path
    without `prefix`. `type` is FILE, DIRECTORY or None: found out from what is there.
    """

    path: str
    prefix: Optional[str] = None
    type: Optional[str] = None
    pattern: bool = False


class Fetch(NamedTuple):
    """One file that the job's side brings into the workspace itself, by an HTTP GET."""

    file: str
    url: str


class Limits(NamedTuple):
    """What the container may use. None is no limit; `gpus` is a count or a list of ids."""

    cpus: Optional[float] = None
    memory_bytes: Optional[int] = None
    disk_bytes: Optional[int] = None
    time_seconds: Optional[float] = None
    gpus: Optional[str] = None


class Runtime(NamedTuple):
    """How containers are started here: docker, podman, apptainer, singularity or sandbox.

    `program` is its command line; `user` is `uid:gid` or None for the image's own; `network`
    is `host`, `none` or a runtime's own name, None for the runtime's default; `environment`
    is added to the program's own environment (DOCKER_HOST and the like); `registries` maps a
    registry's host to `{"username", "password"}`; `sandbox_paths` are directories of the machine
    that the sandbox shows beside /usr.
    """

    kind: str
    program: str
    user: Optional[str] = None
    network: Optional[str] = None
    environment: Dict[str, str] = {}
    registries: Dict[str, Dict[str, str]] = {}
    image_cache: Optional[str] = None
    sandbox_paths: List[str] = []

    @property
    def has_engine(self) -> bool:
        """Whether an engine keeps its containers, to be asked for them and to remove them."""
        return self.kind in ("docker", "podman")


class Plan(NamedTuple):
    """All that the runner needs to know to run one attempt of one task.

    `directories` are made in the workspace first, open to whatever user the container has.
    `fetches` are then brought in by the runner; `send_url` is where it sends what it found, one
    PUT a file (see runner/errands.py); both are empty where others carry the files.
    `publish`: hard links of what was found are laid out below PUBLISHED_DIR, for others that send
    it by its name, and whatever the job left is made readable for the user that runs the runner.
    """

    task: str
    handle: str
    runtime: Runtime
    executors: List[Executor]
    mounts: List[Mount] = []
    outputs: List[Output] = []
    limits: Limits = Limits()
    tail_bytes: int = 65536
    heartbeat_seconds: float = 5.0
    schema: int = SCHEMA
    directories: List[str] = []
    fetches: List[Fetch] = []
    send_url: Optional[str] = None
    publish: bool = False

    def to_json(self) -> Dict[str, Any]:
        """The plan as what json.dumps takes."""
        return dict(
            self._asdict(),
            runtime=dict(self.runtime._asdict()),
            executors=[dict(e._asdict()) for e in self.executors],
            mounts=[dict(m._asdict()) for m in self.mounts],
            outputs=[dict(o._asdict()) for o in self.outputs],
            fetches=[dict(f._asdict()) for f in self.fetches],
            limits=dict(self.limits._asdict()),
        )

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Plan":
        """The inverse of to_json; raises KeyError or TypeError where a field is missing."""
        return _from_json(
            cls,
            dict(
                data,
                runtime=_from_json(Runtime, data["runtime"]),
                executors=[_from_json(Executor, e) for e in data["executors"]],
                mounts=[_from_json(Mount, m) for m in data["mounts"]],
                outputs=[_from_json(Output, o) for o in data["outputs"]],
                fetches=[_from_json(Fetch, f) for f in data.get("fetches", [])],
                limits=_from_json(Limits, data["limits"]),
            ),
        )


class ExecutorResult(NamedTuple):
    """How one executor ended. Peak memory and CPU seconds are None where unknown."""

    start_time: float
    end_time: float
    exit_code: int
    peak_memory_bytes: Optional[int] = None
    cpu_seconds: Optional[float] = None
    out_of_memory: bool = False


class Found(NamedTuple):
    """One regular file to upload.

    `output` indexes Plan.outputs; `path` is the container's; `file` is where its bytes are in
    the workspace, free of links; `name` is the path below the output's directory (DIRECTORY),
    below `prefix` (pattern), or empty (a single file).
    """

    output: int
    path: str
    file: str
    size: int
    name: str = ""


class Result(NamedTuple):
    """The truth about an attempt.

    `executors` holds those that ended, in order. `found` lists the files of each output;
    `types` the type found for each output (None: nothing there). `missing` indexes outputs
    with nothing there. `warnings` are sentences for the user. `sent` indexes those of `found`
    that the job's side has sent to where they belong, None where it was not asked to;
    `send_error` is the sentence on the one that could not be.
    """

    handle: str
    status: str
    executors: List[ExecutorResult] = []
    found: List[Found] = []
    types: List[Optional[str]] = []
    warnings: List[str] = []
    reason: Optional[str] = None
    message: Optional[str] = None
    host: str = ""
    start_time: float = 0.0
    end_time: float = 0.0
    schema: int = SCHEMA
    missing: List[int] = []
    sent: Optional[List[int]] = None
    send_error: Optional[str] = None

    def to_json(self) -> Dict[str, Any]:
        """The result as what json.dumps takes."""
        return dict(
            self._asdict(),
            executors=[dict(e._asdict()) for e in self.executors],
            found=[dict(f._asdict()) for f in self.found],
        )

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Result":
        """The inverse of to_json."""
        return _from_json(
            cls,
            dict(
                data,
                executors=[_from_json(ExecutorResult, e) for e in data["executors"]],
                found=[_from_json(Found, f) for f in data["found"]],
            ),
        )


class Progress(NamedTuple):
    """Where a running attempt is: executors ended so far, and the one that runs (or None)."""

    ended: List[ExecutorResult] = []
    running: Optional[int] = None
    started: Optional[float] = None

    def to_json(self) -> Dict[str, Any]:
        """The progress as what json.dumps takes."""
        return dict(self._asdict(), ended=[dict(e._asdict()) for e in self.ended])

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Progress":
        """The inverse of to_json."""
        return _from_json(
            cls, dict(data, ended=[_from_json(ExecutorResult, e) for e in data["ended"]])
        )
