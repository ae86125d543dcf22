"""What is printed: rows, sizes, banners, reports."""

import shlex
from pathlib import Path

import pytest

from tesp.cli.banner import banner
from tesp.cli.logs import Stream, streams, visible
from tesp.cli.report import failure_lines, output_rows
from tesp.cli.tasks import query, row
from tesp.cli.terminal import size_text
from tesp.tes.states import State


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (2 * 10**9, "2.0 GB")],
)
def test_sizes_are_told_in_decimal_units(size: int, text: str) -> None:
    assert size_text(size) == text


def test_filters_become_the_parameters_of_the_specification() -> None:
    asked = query(State.RUNNING, "align", ["project=ocean", "keep", "a=b=c"])
    assert asked == {
        "state": "RUNNING",
        "name_prefix": "align",
        "tag_key": ["project", "keep", "a"],
        "tag_value": ["ocean", "", "b=c"],
    }
    assert query(None, None, []) == {}


def test_a_row_shows_what_a_task_has() -> None:
    task = {"id": "i", "state": "QUEUED", "name": "n", "tags": {"a": "b"}, "creation_time": "t"}
    assert row(task) == ("i", "QUEUED", "t", "n", "a=b")
    assert row({"id": "i"}) == ("i", "UNKNOWN", "", "", "")


def test_the_outputs_of_the_last_attempt_are_listed_with_sizes() -> None:
    output = {"path": "/out/x", "url": "file:///x", "size_bytes": "1500"}
    task = {"id": "i", "state": "COMPLETE", "logs": [{"outputs": []}, {"outputs": [output]}]}
    assert list(output_rows(task)) == [("/out/x", "1.5 kB", "file:///x")]
    assert list(output_rows({"id": "i", "state": "COMPLETE"})) == []


def test_a_failure_is_told_with_the_ends_of_the_streams_and_the_systems_words() -> None:
    log = {"exit_code": 3, "stderr": "".join(f"e{n}\n" for n in range(30)), "stdout": "out\n"}
    attempt = {"logs": [{"exit_code": 0}, log], "system_logs": ["A sentence."]}
    lines = list(failure_lines({"id": "i", "state": "EXECUTOR_ERROR", "logs": [attempt]}))
    assert "executors[1] ended with exit code 3" in lines
    assert "e29" in lines
    assert "e9" not in lines
    assert "out" in lines
    assert lines[-1] == "system: A sentence."


def test_a_task_that_failed_before_any_executor_is_told_too() -> None:
    assert list(failure_lines({"id": "i", "state": "SYSTEM_ERROR"})) == ["i ended as SYSTEM_ERROR."]


def test_streams_of_ended_executors_come_from_their_logs_and_the_rest_live() -> None:
    metadata = {
        "executor.0.stdout": "stale",
        "executor.1.stderr": "live \\xff",
        "executor.1.stderr.encoding": "backslash",
        "backend": "local",
    }
    attempt = {"logs": [{"exit_code": 0, "stdout": "done"}], "metadata": metadata}
    assert dict(streams({"id": "i", "logs": [attempt]})) == {
        Stream(0, 0, "stdout"): b"done",
        Stream(0, 0, "stderr"): b"",
        Stream(0, 1, "stderr"): b"live \xff",
    }


def test_a_terminal_gets_no_control_characters_out_of_a_log() -> None:
    assert visible(b"a\x1b[2Jb\n\xff\t\xc3\xa9") == "a\\x1b[2Jb\n\\xff\t\u00e9"


def test_the_banner_names_a_place_that_can_be_reached() -> None:
    text = banner("http://0.0.0.0:8123", "docker", Path("/srv/tesp"))
    assert "http://127.0.0.1:8123/ga4gh/tes/v1/tasks" in text
    assert "0.0.0.0" not in text
    assert "docker" in text
    assert "/srv/tesp" in text
    assert "NOT IN CONTAINERS" not in text


def test_the_banner_says_the_sandbox_loudly() -> None:
    assert "NOT IN CONTAINERS" in banner("http://127.0.0.1:1", "sandbox", Path("/d"))


def test_the_commands_of_the_banner_are_words_that_a_shell_can_read() -> None:
    text = banner("http://127.0.0.1:1", "docker", Path("/d"))
    commands = text[text.index("  id=") : text.index("Ctrl-C")]
    assert shlex.split(commands)[-1].startswith("http://127.0.0.1:1/ga4gh/tes/v1/tasks/")


def test_a_dispatcher_without_an_api_shows_no_curl() -> None:
    assert "curl" not in banner(None, "docker", Path("/d"))
