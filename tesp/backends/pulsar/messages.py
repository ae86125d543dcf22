"""The messages between us and a Pulsar, as bytes. Pure.

One message that is no JSON object ends Pulsar's consumer for good, and again after each restart:
what is sent is made here of typed values, and is ASCII.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tesp.backends.pulsar import wire
from tesp.backends.pulsar.command import ENCODED
from tesp.backends.pulsar.wire import Name, Status
from tesp.errors import BackendRefused
from tesp.runner.plan import PUBLISHED_DIR, Fetch

EXCHANGE = "pulsar"
CONTENT_TYPE = "application/json"
SETUP, KILL, STATUS, STATUS_UPDATE = "setup", "kill", "status", "status_update"
QUEUES = (SETUP, KILL, STATUS, STATUS_UPDATE)
# Where a job's outputs are posted to, kept beside its runner: whoever recovers it reads it there.
SEND_URL_FILE = "send_url"

_DEFAULT_MANAGER = "_default_"
_JOB_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
# RabbitMQ takes 128 MiB, and Pulsar holds a message several times.
_LARGEST_BYTES = 32 << 20
_POSTED = f"{wire.WORKSPACE}/{PUBLISHED_DIR}/"


def queue_name(manager: str, queue: str, key_prefix: str | None = None) -> str:
    """A queue of a manager, which is its routing key too."""
    if key_prefix is not None:
        return f"{key_prefix}_{queue}"
    manager_prefix = "pulsar_" if manager == _DEFAULT_MANAGER else f"pulsar_{manager}_"
    return f"{manager_prefix}_{queue}"


@dataclass(frozen=True, slots=True)
class Staging:
    """What Pulsar does around a job: texts and files it brings to the metadata directory before,
    and the URL that it posts the published outputs to afterwards."""

    texts: Mapping[str, str] = field(default_factory=dict)
    fetches: Sequence[Fetch] = ()
    send_url: str | None = None


def setup(
    job: Name, line: str, params: Mapping[str, str], staging: Staging, *, makes_directory: bool
) -> bytes:
    """Have a job run. Pulsar ignores a repetition for as long as the job's directory exists."""
    message: dict[str, Any] = {
        "job_id": _checked(job.id),
        "command_line": line,
        "submit_params": dict(params),
        "remote_staging": _remote_staging(staging),
    }
    if makes_directory:
        message["setup_params"] = {"job_id": job.id}
    return _encoded(message)


def fence(job_id: str) -> bytes:
    """A setup that fails at once and leaves nothing, and whose update tells that all setups
    before it have been taken."""
    return _encoded({"job_id": _checked(job_id), "command_line": "true"})


def kill(job: Name) -> bytes:
    """Have a job killed, or taken out of the queue. No update follows."""
    return _encoded({"job_id": _checked(job.id)})


def status(job: Name) -> bytes:
    """Have an update sent."""
    return _encoded({"job_id": _checked(job.id), "request": "status"})


def update_of(body: bytes) -> tuple[str, Status]:
    """A status update: the job's id and how it stands; raises ValueError."""
    try:
        data = json.loads(body)
    except RecursionError as error:
        raise ValueError("no status of a job") from error
    if isinstance(data, dict) and data.get("status") is None and data.get("complete") == "false":
        # What its scheduler says, and Pulsar has no word for.
        data["status"] = wire.OTHER
    if not isinstance(data, dict) or not all(is_it(data.get(k)) for k, is_it in _FIELDS.items()):
        raise ValueError("no status of a job")
    return data["job_id"], wire.status_of(data)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_list(value: object) -> bool:
    names = value if isinstance(value, list) else []
    return value is None or (value is names and all(isinstance(name, str) for name in names))


_FIELDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("job_id", "status"), _is_word),
    **dict.fromkeys(("stderr", "job_stdout", "job_stderr"), _is_text),
    **dict.fromkeys(("metadata_directory_contents", "job_directory_contents"), _is_list),
}


def archive_text(archive: bytes) -> dict[str, str]:
    """The runner and its plan as a text of a message."""
    return {ENCODED: base64.b64encode(archive).decode("ascii")}


def _remote_staging(staging: Staging) -> dict[str, Any]:
    texts = [
        _brought(name, {"action_type": "message", "contents": text})
        for name, text in staging.texts.items()
    ]
    files = [
        _brought(
            wire.in_metadata(fetch.file),
            # Pulsar insists on a path, and does nothing with it.
            {"action_type": "remote_transfer", "path": f"/{fetch.file}", "url": fetch.url},
        )
        for fetch in staging.fetches
    ]
    found: dict[str, Any] = {"setup": texts + files} if texts or files else {}
    if staging.send_url is not None:
        found |= _posting(staging.send_url)
    return found


def _brought(name: str, action: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "type": "metadata", "action": action}


def _posting(send_url: str) -> dict[str, Any]:
    """Pulsar posts what matches to `send_url&path=/tesp/published/...`."""
    return {
        "action_mapper": {
            "default_action": "remote_transfer",
            "files_endpoint": send_url,
            "paths": [],
        },
        "client_outputs": {
            "working_directory": "/",
            "metadata_directory": "/",
            "output_files": [],
            "work_dir_outputs": [],
            "dynamic_outputs": [re.escape(_POSTED)],
        },
    }


def _checked(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise BackendRefused(f"{job_id!r} cannot be the name of a job of a Pulsar.")
    return job_id


def _encoded(message: dict[str, Any]) -> bytes:
    body = json.dumps(message, ensure_ascii=True, allow_nan=False).encode("ascii")
    if len(body) > _LARGEST_BYTES:
        raise BackendRefused(
            f"The task's plan takes {len(body)} bytes, and a message to a Pulsar holds "
            f"{_LARGEST_BYTES}: give what is large as inputs, not in the commands."
        )
    return body
