"""The three views, to the letter: what each shows, and that text comes back as values."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.tes.models import (
    Executor,
    ExecutorLog,
    Input,
    Output,
    OutputFileLog,
    Resources,
    TaskLog,
    TaskSubmission,
)
from tesp.tes.states import State
from tesp.tes.views import (
    TaskText,
    Text,
    View,
    attempts_of,
    body_text,
    logs_text,
    render,
    submission_of,
)

CREATED = "2024-01-01T00:00:00.000Z"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)

SUBMISSION = TaskSubmission(
    name='na"me\n',
    executors=[Executor(image="alpine", command=["echo", "a b", ""], env={"A": "é"})],
    inputs=[
        Input(path="/a", content="secret", name="n"),
        Input(path="/b", url="s3://b/k", type="FILE"),
    ],
    outputs=[Output(path="/o", url="file:///o")],
    resources=Resources(cpu_cores=2, ram_gb=0.5),
    tags={"k": "", "": "v"},
)
ATTEMPT = TaskLog(
    logs=[ExecutorLog(exit_code=1, stdout="out", stderr="err", start_time=CREATED)],
    outputs=[OutputFileLog(url="file:///o", path="/o", size_bytes="5")],
    metadata={"host": "n1"},
    system_logs=["a sentence"],
)


def shown(body: Text, logs: Text | None, view: View, **more: Any) -> Any:
    """What a client reads."""
    text = TaskText(
        "id1", State.RUNNING, body.of(view), logs.of(view) if logs else "", more.get("tails", {})
    )
    return json.loads(render(text))


def test_minimal_is_id_and_state_alone() -> None:
    assert json.loads(render(TaskText("id1", State.QUEUED))) == {"id": "id1", "state": "QUEUED"}


def test_full_is_everything_that_was_sent_and_set() -> None:
    seen = shown(body_text(SUBMISSION, CREATED), logs_text([ATTEMPT]), View.FULL)

    assert seen == {
        "id": "id1",
        "state": "RUNNING",
        "creation_time": CREATED,
        **SUBMISSION.model_dump(exclude_none=True),
        "logs": [ATTEMPT.model_dump(exclude_none=True)],
    }


def test_basic_drops_content_streams_and_system_logs_and_nothing_else() -> None:
    body, logs = body_text(SUBMISSION, CREATED), logs_text([ATTEMPT])
    wanted = shown(body, logs, View.FULL)
    del wanted["inputs"][0]["content"]
    del wanted["logs"][0]["system_logs"]
    del wanted["logs"][0]["logs"][0]["stdout"]
    del wanted["logs"][0]["logs"][0]["stderr"]

    assert shown(body, logs, View.BASIC) == wanted


def test_empty_content_is_content_too() -> None:
    submission = SUBMISSION.model_copy(update={"inputs": [Input(path="/a", content="")]})
    body = body_text(submission, CREATED)

    assert shown(body, None, View.FULL)["inputs"] == [{"path": "/a", "content": ""}]
    assert shown(body, None, View.BASIC)["inputs"] == [{"path": "/a"}]


def test_a_body_without_content_is_kept_once() -> None:
    submission = SUBMISSION.model_copy(update={"inputs": None})

    assert body_text(submission, CREATED).basic is None


def test_what_is_unset_never_goes_out() -> None:
    bare = TaskSubmission(executors=[Executor(image="a", command=["b"])])

    assert shown(body_text(bare, CREATED), None, View.FULL) == {
        "id": "id1",
        "state": "RUNNING",
        "executors": [{"image": "a", "command": ["b"]}],
        "creation_time": CREATED,
    }


def test_another_state_can_be_shown_in_place_of_the_stored_one() -> None:
    text = TaskText("id1", State.CANCELING, '"name":"n"')

    assert json.loads(render(text, State.RUNNING))["state"] == "RUNNING"
    assert json.loads(render(text))["state"] == "CANCELING"


def test_live_tails_are_metadata_of_the_last_attempt() -> None:
    logs = logs_text([ATTEMPT, ATTEMPT])

    seen = shown(Text('"name":"n"'), logs, View.FULL, tails={"executor.0.stdout": 'a"\n'})

    assert [a["metadata"] for a in seen["logs"]] == [
        {"host": "n1"},
        {"host": "n1", "executor.0.stdout": 'a"\n'},
    ]


@pytest.mark.parametrize("logs", [None, logs_text([])])
def test_live_tails_without_an_attempt_in_the_logs_are_left_out(logs: Text | None) -> None:
    seen = shown(Text('"name":"n"'), logs, View.FULL, tails={"executor.0.stdout": "a"})

    assert seen == {"id": "id1", "state": "RUNNING", "name": "n", **({"logs": []} if logs else {})}


def test_no_logs_are_no_attempts() -> None:
    assert attempts_of("") == []
    assert attempts_of(logs_text([]).full) == []


@pytest.mark.parametrize("view", [View.BASIC, View.FULL])
def test_logs_of_an_attempt_always_have_their_required_members(view: View) -> None:
    assert json.loads(logs_text([TaskLog()]).of(view)) == [{"logs": [], "outputs": []}]


@given(
    name=TEXT,
    content=TEXT,
    tags=st.dictionaries(TEXT, TEXT, max_size=3),
    command=st.lists(TEXT, min_size=1, max_size=3),
)
def test_any_submission_comes_back_from_its_text(
    name: str, content: str, tags: dict[str, str], command: list[str]
) -> None:
    submission = TaskSubmission(
        name=name,
        tags=tags,
        executors=[Executor(image="i", command=command)],
        inputs=[Input(path="/p", content=content)],
    )

    assert submission_of(body_text(submission, CREATED).full) == submission


@given(stdout=TEXT, lines=st.lists(TEXT, max_size=3), code=st.integers(0, 255))
def test_any_attempts_come_back_from_their_text(stdout: str, lines: list[str], code: int) -> None:
    attempts = [
        TaskLog(logs=[ExecutorLog(exit_code=code, stdout=stdout)], system_logs=lines),
        TaskLog(),
    ]

    assert attempts_of(logs_text(attempts).full) == attempts
