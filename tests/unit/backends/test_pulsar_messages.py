"""What is said to a Pulsar by messages, and what comes back."""

import json
import re

import pytest

from tesp.backends.pulsar import messages
from tesp.backends.pulsar.messages import Staging
from tesp.backends.pulsar.wire import OTHER, Name, Status
from tesp.errors import BackendRefused
from tesp.runner.plan import Fetch

JOB = Name("gpu", "task-1.1")
# As a Pulsar 0.16.0 sent them.
RUNNING = b'{"complete": "false", "status": "running", "job_id": "j-1"}'
FAILED = b"""{"job_id": "tesp-fence-1", "complete": "true", "status": "failed", "returncode": null,
    "stdout": "", "stderr": "", "job_stdout": "", "job_stderr": "",
    "working_directory": "/p/staging/tesp-fence-1/working",
    "metadata_directory": "/p/staging/tesp-fence-1/metadata",
    "job_directory": "/p/staging/tesp-fence-1", "working_directory_contents": [],
    "metadata_directory_contents": [], "outputs_directory_contents": [],
    "job_directory_contents": [], "system_properties": {"separator": "/"},
    "pulsar_version": "0.16.0", "realized_dynamic_file_sources": []}"""


@pytest.mark.parametrize(
    ("manager", "prefix", "name"),
    [
        ("_default_", None, "pulsar__setup"),
        ("gpu", None, "pulsar_gpu__setup"),
        ("_default_", "site_7", "site_7_setup"),
        ("gpu", "", "_setup"),
    ],
)
def test_queues_are_named_as_pulsar_names_them(manager: str, prefix: str | None, name: str) -> None:
    assert messages.queue_name(manager, "setup", prefix) == name


def test_a_setup_says_what_pulsar_is_to_do() -> None:
    staging = Staging(
        {"runner.pyz.b64": "AAAA"},
        [Fetch("roots/0/a b", "http://h/in?key=k")],
        "http://h/out?key=k",
    )
    said = json.loads(messages.setup(JOB, "line", {"cpus": "2"}, staging, makes_directory=True))
    assert said["job_id"] == "task-1.1"
    assert said["setup_params"] == {"job_id": "task-1.1"}
    assert said["submit_params"] == {"cpus": "2"}
    text, fetch = said["remote_staging"]["setup"]
    assert text["name"] == "runner.pyz.b64"
    assert text["action"] == {"action_type": "message", "contents": "AAAA"}
    assert (fetch["name"], fetch["type"]) == ("tesp/roots/0/a b", "metadata")
    assert fetch["action"]["url"] == "http://h/in?key=k"
    assert said["remote_staging"]["action_mapper"]["files_endpoint"] == "http://h/out?key=k"
    (pattern,) = said["remote_staging"]["client_outputs"]["dynamic_outputs"]
    assert re.match(pattern, "tesp/published/0/1/below/new\nline")
    assert not re.match(pattern, "tesp/roots/0/tesp/published/x")


def test_what_a_scheduler_says_and_pulsar_has_no_word_for_is_a_status() -> None:
    told = messages.update_of(b'{"complete": "false", "status": null, "job_id": "j-1"}')
    assert told == ("j-1", Status(OTHER))


def test_a_job_whose_directory_is_there_is_not_set_up_again() -> None:
    said = json.loads(messages.setup(JOB, "line", {}, Staging(), makes_directory=False))
    assert "setup_params" not in said
    assert said["remote_staging"] == {}


@pytest.mark.parametrize("text", ["é\U0001f600", "\ud800", "\x00\x7f", '"}]\\'])
def test_whatever_is_said_is_an_object_in_ascii(text: str) -> None:
    staging = Staging({"n": text}, [Fetch(text, text)], text)
    body = messages.setup(JOB, text, {text: text}, staging, makes_directory=True)
    assert body.isascii()
    assert isinstance(json.loads(body), dict)


@pytest.mark.parametrize("job_id", ["", ".", "..", "a/b", "a b", "-rf", "a\n", "é", "$(x)"])
def test_what_cannot_name_a_job_is_never_said(job_id: str) -> None:
    name = Name("_default_", job_id)
    for said in (messages.kill, messages.status):
        with pytest.raises(BackendRefused):
            said(name)
    with pytest.raises(BackendRefused):
        messages.setup(name, "true", {}, Staging(), makes_directory=True)


def test_a_plan_that_is_too_large_for_a_message_is_refused() -> None:
    with pytest.raises(BackendRefused, match="give what is large as inputs"):
        messages.setup(JOB, "x" * (33 << 20), {}, Staging(), makes_directory=True)


def test_updates_are_read() -> None:
    job_id, status = messages.update_of(RUNNING)
    assert (job_id, status.state, status.job_files) == ("j-1", "running", None)
    job_id, status = messages.update_of(FAILED)
    assert (job_id, status.state, status.gone) == ("tesp-fence-1", "failed", False)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"null", b"7", b"[]", b"{}", b"[" * 100_000),
        b'{"job_id": 5, "status": "running"}',
        b'{"job_id": "", "status": "running"}',
        b'{"job_id": "j", "status": ["running"]}',
        b'{"job_id": "j", "status": "complete", "job_stdout": 5}',
        b'{"job_id": "j", "status": "complete", "job_directory_contents": [{}]}',
    ],
)
def test_poison_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        messages.update_of(body)
