"""One table tells the answer to every exception."""

import inspect

import pytest

from tesp import errors
from tesp.api.problems import ANSWERS, answer_to

OURS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
EXCEPTIONS = [kind for kind in OURS if issubclass(kind, errors.TespError)]


@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_every_exception_of_ours_has_an_answer(kind: type[Exception]) -> None:
    assert 400 <= answer_to(kind).status <= 599


@pytest.mark.parametrize("kind", [*EXCEPTIONS, RuntimeError, KeyError])
def test_no_failure_of_the_server_shows_its_own_words(kind: type[Exception]) -> None:
    answer = answer_to(kind)
    assert answer.status < 500 or answer.detail


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.InvalidTask, 400),
        (errors.NotFound, 404),
        (errors.Conflict, 409),
        (errors.StoreLocked, 503),
        (errors.AccessRefused, 502),
        (errors.BackendUnavailable, 503),
        (errors.BackendRefused, 502),
        (errors.SettingsError, 500),
        (ValueError, 500),
    ],
)
def test_the_nearest_ancestor_in_the_table_gives_the_answer(
    kind: type[Exception], status: int
) -> None:
    assert answer_to(kind).status == status


def test_what_may_pass_says_when_to_try_again() -> None:
    for answer in ANSWERS.values():
        assert ("Retry-After" in answer.headers) == (answer.status == 503)
