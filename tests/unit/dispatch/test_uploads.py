"""Which file goes to which URL."""

import pytest

from tesp.dispatch.uploads import uploads_of
from tesp.runner.plan import Found
from tesp.tes.models import Output


def url_of(output_url: str, path: str, name: str = "") -> str:
    output = Output(path=path, url=output_url)
    return uploads_of([output], [Found(0, path, "roots/0/x", 3, name)])[0].url


@pytest.mark.parametrize("url", ["s3://b/d", "s3://b/d/"])
def test_the_files_of_a_directory_go_below_its_url(url: str) -> None:
    assert url_of(url, "/o/e/f", "e/f") == "s3://b/d/e/f"


def test_a_single_file_goes_to_its_url_and_below_one_that_ends_in_a_slash() -> None:
    assert url_of("s3://b/x.txt", "/o/f") == "s3://b/x.txt"
    assert url_of("s3://b/d/", "/o/f") == "s3://b/d/f"


def test_names_are_escaped_where_urls_are() -> None:
    assert url_of("http://h/d", "/o/a b%#?", "a b%#?") == "http://h/d/a%20b%25%23%3F"
    assert url_of("file:///d", "/o/a%20b", "a%20b") == "file:///d/a%2520b"


def test_an_upload_names_its_output_and_its_size() -> None:
    upload = uploads_of([Output(path="/o", url="s3://b/d")], [Found(0, "/o", "roots/0", 3)])[0]
    assert (upload.field, upload.size, upload.path) == ("outputs[0]", 3, "/o")
