"""POSIX wildcards of one component."""

import pytest

from tesp.runner.patterns import is_pattern, matcher


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
