"""What is new in a stream whose end alone is shown."""

from tesp.cli.tails import News, news, tail_bytes
from tesp.dispatch.report import text_of

_WINDOW = 65536


def _lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % n for n in range(first, last))


def test_the_first_tail_is_new_from_its_beginning() -> None:
    assert news(b"", b"hello\n") == News(b"hello\n")


def test_of_a_stream_that_grew_only_the_growth_is_new() -> None:
    assert news(b"one\n", b"one\ntwo\n") == News(b"two\n")


def test_nothing_is_new_in_the_same_tail() -> None:
    assert news(b"one\n", b"one\n") == News(b"")


def test_a_log_that_was_taken_shorter_brings_nothing_new() -> None:
    assert news(b"one\ntwo\n", b"two\n") == News(b"")


def test_every_byte_is_shown_once_while_the_window_slides() -> None:
    whole = _lines(0, 40_000)
    seen, shown = b"", b""
    for end in range(20_000, len(whole) + 20_000, 20_000):
        tail = whole[:end][-_WINDOW:]
        shown += news(seen, tail).data
        seen = tail
    assert shown == whole


def test_output_that_passed_between_two_looks_is_told_as_a_gap() -> None:
    early, late = _lines(0, 9_000)[-_WINDOW:], _lines(0, 90_000)[-_WINDOW:]
    assert news(early, late) == News(late, gap=True)


def test_a_few_equal_bytes_by_chance_are_no_overlap() -> None:
    assert news(b"x" * 100 + b"\n", b"\n" + b"y" * 100).gap


def test_the_bytes_of_binary_noise_come_back_whole() -> None:
    noise = bytes(range(256)) + b"\\x41\\\\ \xff"
    metadata = {"executor.0.stdout.encoding": "backslash"}
    assert tail_bytes(text_of(noise), "executor.0.stdout", metadata) == noise


def test_backslashes_of_plain_text_stay_as_they_are() -> None:
    assert tail_bytes("C:\\x41", "executor.0.stdout", {}) == b"C:\\x41"


def test_the_encoding_of_one_stream_says_nothing_of_another() -> None:
    metadata = {"executor.0.stderr.encoding": "backslash"}
    assert tail_bytes("a\\\\b", "executor.0.stdout", metadata) == b"a\\\\b"
