"""Filters: what matches, and how overlapping ones are parted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.bus import filters
from tesp.errors import BusRefused, MessageRefused

_LEVELS = st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=4)
TOPICS = _LEVELS.map("/".join).filter(bool)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    levels = [draw(st.sampled_from([level, "+"])) for level in draw(_LEVELS)]
    if draw(st.booleans()):
        levels[-1] = "#"
    return "/".join(levels) or "#"


@pytest.mark.parametrize(
    ("pattern", "topic", "is_match"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "ab", False),
        ("#", "a/b", True),
        ("+/+", "/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("A", "a", False),
    ],
)
def test_a_topic_matches_as_mqtt_has_it(pattern: str, topic: str, is_match: bool) -> None:
    assert filters.matches(pattern, topic) is is_match


@pytest.mark.parametrize(
    ("binding", "key", "is_match"),
    [
        ("*.*.*.*.0000", "prod.u.p.monitoring.0000", True),
        ("*.*.*.*.0000", "prod.u.p.monitoring.1000", False),
        ("*.*.*.*.0000", "p.monitoring.0000", False),
        ("#.0000", "0000", True),
        ("#.0000", "a.b.0000", True),
        ("a.#.b.#", "a.x.y.b", True),
        ("a.#.b.#", "a.x.y", False),
        ("#", "", True),
        ("#.#.#", "a", True),
    ],
)
def test_a_key_matches_as_amqp_has_it(binding: str, key: str, is_match: bool) -> None:
    assert filters.key_matches(binding, key) is is_match


@given(patterns(), patterns(), TOPICS)
def test_what_matches_two_filters_says_that_they_overlap(one: str, other: str, topic: str) -> None:
    if filters.matches(one, topic) and filters.matches(other, topic):
        assert filters.overlap(one, other)
        assert filters.overlap(other, one)
    if filters.covers(one, other) and filters.matches(other, topic):
        assert filters.matches(one, topic)


@given(st.lists(patterns(), min_size=1, max_size=5), TOPICS)
def test_groups_match_what_all_match_and_no_group_matches_twice(
    many: list[str], topic: str
) -> None:
    groups = filters.disjoint(many)
    hits = [sum(filters.matches(p, topic) for p in group) for group in groups]
    assert any(hits) is any(filters.matches(p, topic) for p in many)
    assert max(hits) <= 1


@given(patterns(), TOPICS)
def test_a_filter_means_the_same_as_a_key(pattern: str, topic: str) -> None:
    assert filters.key_matches(filters.key_of(pattern), filters.key_of(topic)) is filters.matches(
        pattern, topic
    )


@pytest.mark.parametrize("wrong", ["", "a#", "#/a", "a+", "a/+b/c", "a\0"])
def test_what_is_no_filter_is_refused(wrong: str) -> None:
    with pytest.raises(BusRefused, match="is no filter"):
        filters.checked_binding(wrong)


def test_filters_of_keys_have_rules_of_their_own() -> None:
    assert filters.checked_binding("*.#.0000") == "*.#.0000"
    with pytest.raises(BusRefused, match="is no filter of keys"):
        filters.checked_binding("a*.b")


@pytest.mark.parametrize("wrong", ["", "a/+", "#", "a\nb", "a\ufffe", "x" * 70_000])
def test_what_is_no_topic_is_refused(wrong: str) -> None:
    with pytest.raises(MessageRefused):
        filters.checked_topic(wrong)
