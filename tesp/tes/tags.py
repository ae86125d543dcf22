"""Tags, as rules ask for them. Pure."""

from collections.abc import Mapping


def has(tags: Mapping[str, str], tag: str, value: str | None) -> bool:
    """Whether there is that tag, and where a value is asked for, of that value."""
    return tag in tags and value in (None, tags[tag])
