"""Where the service is, and with what to speak to it."""

import pytest

from tesp.cli.address import Credentials, api_url, credentials
from tesp.errors import RequestRefused


@pytest.mark.parametrize(
    ("written", "api"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/ga4gh/tes/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/ga4gh/tes/v1"),
        ("tes.example:8080", "http://tes.example:8080/ga4gh/tes/v1"),
        ("https://tes.example/ga4gh/tes/v1", "https://tes.example/ga4gh/tes/v1"),
        ("https://tes.example/v1/", "https://tes.example/ga4gh/tes/v1"),
        ("https://site.example/tes/ga4gh/tes/v1/", "https://site.example/tes/ga4gh/tes/v1"),
        ("http://[::1]:8000", "http://[::1]:8000/ga4gh/tes/v1"),
    ],
)
def test_the_api_is_found_from_what_people_write(written: str, api: str) -> None:
    assert api_url(written) == api


@pytest.mark.parametrize(
    "written", ["ftp://tes.example", "http://", "file:///tasks", "http://h:99999", "http://[::1"]
)
def test_what_is_no_http_url_is_refused(written: str) -> None:
    with pytest.raises(RequestRefused, match="http"):
        api_url(written)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(RequestRefused) as refused:
        api_url("http://alice:secret@tes.example")
    assert "TESP_PASSWORD" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_token_goes_before_a_user() -> None:
    environ = {"TESP_TOKEN": "t", "TESP_USER": "alice", "TESP_PASSWORD": "p"}
    assert credentials(environ) == Credentials(token="t")
    del environ["TESP_TOKEN"]
    assert credentials(environ) == Credentials(basic=("alice", "p"))
    assert credentials({}) == Credentials()
