"""Filters of topics and of routing keys: what matches, what overlaps, and what is none. Pure."""

from collections.abc import Iterable, Sequence

from tesp.errors import BusRefused, MessageRefused

_MOST_BYTES = 65535


def checked_topic(topic: str) -> str:
    """A topic that every broker takes; raises MessageRefused."""
    if not topic or len(topic.encode(errors="replace")) > _MOST_BYTES:
        raise MessageRefused("a topic has between 1 and 65535 bytes")
    # Brokers hang up on what is no printable sign.
    if any(sign in "+#" or not (sign.isprintable() or sign == " ") for sign in topic):
        raise MessageRefused(
            f"the topic {topic[:200]!r} holds +, # or a sign that is not printable"
        )
    return topic


def checked_filter(pattern: str) -> str:
    """A filter as MQTT has it; raises BusRefused."""
    levels = pattern.split("/")
    hidden = any("#" in level or ("+" in level and level != "+") for level in levels[:-1])
    last = levels[-1]
    loose = last not in ("+", "#") and ("+" in last or "#" in last)
    if not pattern or "\0" in pattern or hidden or loose:
        raise BusRefused(
            f"{pattern[:200]!r} is no filter: + stands for one whole level, # for all that "
            "follow, at the end"
        )
    return pattern


def checked_binding(pattern: str) -> str:
    """A filter of topics, or of routing keys: without a slash and with dots; raises BusRefused."""
    if "/" in pattern or "." not in pattern:
        return checked_filter(pattern)
    if any(len(word) > 1 and ("*" in word or "#" in word) for word in pattern.split(".")):
        raise BusRefused(
            f"{pattern[:200]!r} is no filter of keys: * stands for one whole word, # for any "
            "number of them"
        )
    return pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic matches; those that begin with $ do not match a wildcard at the start."""
    if topic.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    return covers(pattern, topic)


def covers(wide: str, narrow: str) -> bool:
    """Whether all that matches the narrow filter (or topic) matches the wide one."""
    ours, theirs = wide.split("/"), narrow.split("/")
    for number, level in enumerate(ours):
        if level == "#":
            return True
        if number >= len(theirs) or theirs[number] == "#":
            return False
        if level not in ("+", theirs[number]):
            return False
    return len(ours) == len(theirs)


def overlap(one: str, other: str) -> bool:
    """Whether there is a topic that matches both."""
    a, b = one.split("/"), other.split("/")
    for x, y in zip(a, b, strict=False):
        if "#" in (x, y):
            return True
        if x != y and "+" not in (x, y):
            return False
    longer = max(a, b, key=len)
    # `a/#` matches `a` as well.
    return len(a) == len(b) or longer[min(len(a), len(b))] == "#"


def disjoint(patterns: Iterable[str]) -> list[list[str]]:
    """Groups of filters that do not overlap; what another filter covers is left out."""
    left = list(dict.fromkeys(patterns))
    needed = [p for p in left if not any(q != p and covers(q, p) for q in left)]
    groups: list[list[str]] = []
    for pattern in needed:
        for group in groups:
            if not any(overlap(pattern, other) for other in group):
                group.append(pattern)
                break
        else:
            groups.append([pattern])
    return groups


def key_of(topic: str) -> str:
    """A topic or a filter as AMQP, and RabbitMQ's MQTT plugin, write it."""
    return topic.replace("/", ".").replace("+", "*")


def topic_of(key: str) -> str:
    """A routing key as a topic."""
    return key.replace(".", "/")


def key_matches(binding: str, key: str) -> bool:
    """Whether a routing key matches a binding key: `*` is one word, `#` any number of them."""
    return _words_match(binding.split("."), key.split("."))


def _words_match(pattern: Sequence[str], words: Sequence[str]) -> bool:
    """By the set of places in the pattern that the words so far may have come to."""
    places = _past_hashes(pattern, {0})
    for word in words:
        moved = {p + 1 for p in places if p < len(pattern) and pattern[p] in ("*", word)}
        stayed = {p for p in places if p < len(pattern) and pattern[p] == "#"}
        places = _past_hashes(pattern, moved | stayed)
    return len(pattern) in places


def _past_hashes(pattern: Sequence[str], places: set[int]) -> set[int]:
    reached = set(places)
    for place, word in enumerate(pattern):
        if place in reached and word == "#":
            reached.add(place + 1)
    return reached


def wanted(patterns: Iterable[str], topic: str, key: str | None) -> bool:
    """Whether a message is for one of these filters, by its topic or by its routing key."""
    return any(
        matches(pattern, topic)
        or (key is not None and "/" not in pattern and key_matches(pattern, key))
        for pattern in patterns
    )
