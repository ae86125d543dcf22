"""Keys: good for one path of one attempt, and URLs that carry them."""

from urllib.parse import parse_qs, urlsplit

import pytest

from tesp.staging.keys import OUTPUTS, Keys, input_path

KEYS = Keys(b"a secret" * 4, "https://tes.example:8443/base/")


def key_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["key"][0]


def test_urls_lie_below_the_public_url_and_hold_their_key() -> None:
    one, file = KEYS.input_url("t1", 2, 3), KEYS.input_url("t1", 2, 3, "a b/ü&key=x")
    send = KEYS.send_url("t1", 2)

    assert urlsplit(one).geturl().startswith("https://tes.example:8443/base/files/t1/2/inputs/3?")
    assert parse_qs(urlsplit(file).query)["name"] == ["a b/ü&key=x"]
    assert send.startswith("https://tes.example:8443/base/files/t1/2/outputs?key=")
    assert KEYS.is_valid("t1", 2, input_path(3), key_of(one))
    assert KEYS.is_valid("t1", 2, input_path(3, "a b/ü&key=x"), key_of(file))
    assert KEYS.is_valid("t1", 2, OUTPUTS, key_of(send))


@pytest.mark.parametrize(
    ("task", "number", "path"),
    [
        ("t2", 2, "inputs/3"),
        ("t1", 1, "inputs/3"),
        ("t1", 2, "inputs/33"),
        ("t1", 2, "inputs/3/x"),
        ("t1", 2, "outputs"),
        ("t1\n2", 3, "inputs/3"),
    ],
)
def test_a_key_is_good_for_nothing_else(task: str, number: int, path: str) -> None:
    key = key_of(KEYS.input_url("t1", 2, 3))

    assert not KEYS.is_valid(task, number, path, key)


@pytest.mark.parametrize("key", ["", "0" * 64, "ü", "\ud800"])
def test_what_is_no_key_is_refused(key: str) -> None:
    assert not KEYS.is_valid("t1", 2, "inputs/3", key)


def test_keys_of_another_secret_are_refused() -> None:
    other = Keys(b"other" * 8, "https://tes.example:8443/base")

    assert not KEYS.is_valid("t1", 2, "inputs/3", key_of(other.input_url("t1", 2, 3)))
