"""POSIX wildcards of one component."""

import pytest

from tesp.runner.patterns import alternatives, is_pattern, matcher


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.txt", ["a.txt", "a.b.txt", "a\nb.txt"], [".txt", ".a.txt", "a.txt~"]),
        (".*", [".a", "."], ["a"]),
        ("?", ["a", "é", "\n"], ["ab", "", "."]),
        ("[ab]c", ["ac", "bc"], ["cc", "[ab]c"]),
        ("[!ab]", ["c", "-"], ["a", "."]),
        ("[a-c]*", ["a", "bcd"], ["d"]),
        ("[]x]", ["]", "x"], ["[]x]"]),
        ("[[:digit:]_]", ["1", "_"], ["a", ":"]),
        ("[![:alpha:]]", ["1"], ["a"]),
        ("x[.]", ["x."], ["x[.]"]),
        ("[.]x", [], [".x"]),
        ("[ab", ["[ab"], ["a"]),
        (r"\*", ["*"], ["a"]),
        (r"a\.\?*", ["a.?b"], ["a.xb"]),
        ("[c-a]", [], ["a", "b", "c"]),
        ("[a&&b]", ["&"], ["c"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
        ("{a,b}", ["{a,b}"], ["a", "b"]),
    ],
)
def test_a_component_matches_as_posix_says(
    pattern: str, matching: list[str], other: list[str]
) -> None:
    fits = matcher(pattern)
    assert [n for n in matching if not fits(n)] == []
    assert [n for n in other if fits(n)] == []


@pytest.mark.parametrize(
    ("text", "is_one"), [("a", False), ("a*", True), ("?", True), ("{a}", False)]
)
def test_only_wildcards_make_a_pattern(text: str, is_one: bool) -> None:
    assert is_pattern(text) is is_one


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/o/x.{bam,bai}", ["/o/x.bai", "/o/x.bam"]),
        ("/o/{a,b}/{c,}", ["/o/a/", "/o/a/c", "/o/b/", "/o/b/c"]),
        ("/o/{a,{b,c}}", ["/o/a", "/o/b", "/o/c"]),
        ("/o/{a}", []),
        ("/o/plain", []),
        ("/o/" + "{a,b}" * 40, []),
    ],
)
def test_alternatives_are_written_out_unless_there_are_too_many(
    path: str, expected: list[str]
) -> None:
    assert alternatives(path) == expected
