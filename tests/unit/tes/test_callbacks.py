"""Which URLs a task may have called."""

import pytest

from tesp.errors import InvalidTask
from tesp.tes.callbacks import host_of, wrong
from tesp.tes.models import TaskSubmission
from tesp.tes.rules import BACKEND_PARAMETERS, Limits, admit

ALLOWED = ("hooks.example.com", "*.example.org", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "http://HOOKS.example.com.:8080/a/b?c=d&e=%20",
        "https://a.example.org/x",
        "https://a.b.example.org/x",
        "http://127.0.0.1:9/x",
        "http://[::1]:9/x",
    ],
)
def test_a_host_that_is_allowed_may_be_called(url: str) -> None:
    assert wrong(url, ALLOWED) is None


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x",
        "https://example.com/hooks.example.com",
        "https://hooks.example.com.evil.net/",
        "https://evilexample.org/",
        "https://.example.org/",
        "https://127.0.0.2/",
    ],
)
def test_no_other_host_is_called_and_the_mend_is_told(url: str) -> None:
    assert "*.example.org" in str(wrong(url, ALLOWED))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a.example.org/",
        "https://user@a.example.org/",
        "https://a.example.org@evil.net/",
        "https://a.example.org\\@evil.net/",
        "https://a.example.org/\\x",
        "https://a.example.org/#x",
        "https://a.example.org/ x",
        "https://a.example.org/\r\nX: y",
        "https://a.example.org:99999/",
        "https://exämple.org/",
        "https://a.example.org/" + "x" * 2048,
    ],
)
def test_what_could_be_read_in_two_ways_is_no_callback(url: str) -> None:
    assert host_of(url) is None
    assert "must be a URL" in str(wrong(url, ALLOWED))


def a_task(url: str, strict: bool) -> TaskSubmission:
    resources = {
        "backend_parameters": {"callback_url": url},
        "backend_parameters_strict": strict,
    }
    executors = [{"image": "alpine", "command": ["true"]}]
    return TaskSubmission.model_validate({"executors": executors, "resources": resources})


def test_a_task_with_a_host_that_is_not_allowed_is_refused() -> None:
    limits = Limits(parameters=BACKEND_PARAMETERS | {"callback_url"}, callback_hosts=ALLOWED)

    with pytest.raises(InvalidTask) as caught:
        admit(a_task("https://evil.net/", strict=False), limits, lambda *_: None)
    admitted = admit(a_task("https://a.example.org/x", strict=True), limits, lambda *_: None)

    (problem,) = caught.value.problems
    assert problem.field == "resources.backend_parameters.callback_url"
    assert "hooks.example.com" in problem.message
    assert admitted.needs.parameters["callback_url"] == "https://a.example.org/x"


def test_where_no_host_is_allowed_callbacks_are_not_supported() -> None:
    admitted = admit(a_task("https://a.example.org", strict=False), Limits(), lambda *_: None)
    assert "'callback_url' is not supported" in admitted.warnings[0]
    with pytest.raises(InvalidTask):
        admit(a_task("https://a.example.org", strict=True), Limits(), lambda *_: None)
