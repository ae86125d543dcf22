"""Task documents out of files."""

from pathlib import Path

import pytest

from tesp.cli.documents import read_document
from tesp.errors import InvalidTask


def test_a_document_is_read(tmp_path: Path) -> None:
    file = tmp_path / "task.json"
    file.write_text('{"executors": []}')
    assert read_document(str(file)) == {"executors": []}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{\n  nope", "line 2, column 3"),
        (b"[]", "one JSON object"),
        (b"\xff\xfe{", "not JSON"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[" * 100_000, "not JSON"),
        (b"", "line 1, column 1"),
    ],
)
def test_what_is_no_document_is_refused_with_the_files_name(
    tmp_path: Path, content: bytes, why: str
) -> None:
    file = tmp_path / "task.json"
    file.write_bytes(content)
    with pytest.raises(InvalidTask) as refused:
        read_document(str(file))
    assert refused.value.problems[0].field == str(file)
    assert why in refused.value.problems[0].message


def test_a_file_that_is_not_there_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidTask, match="No such file"):
        read_document("/nowhere/task.json")
