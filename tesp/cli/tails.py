r"""What is new in a stream whose last 64 KiB alone are shown. Pure.

A tail is the end of a growing stream. Two tails of it, one after the other, overlap as long
as fewer bytes than a tail holds came in between.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# A shorter overlap of two full tails is chance: a line's end, a word.
_LEAST_OVERLAP = 16
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|\\)")


@dataclass(frozen=True, slots=True)
class News:
    """The bytes not seen before; `gap`: some before them were never seen."""

    data: bytes
    gap: bool = False


def news(seen: bytes, tail: bytes) -> News:
    """What `tail` has beyond the tail `seen` before."""
    if tail.startswith(seen):
        return News(tail[len(seen) :])
    if seen.endswith(tail):
        return News(b"")
    kept = _overlap(seen, tail)
    return News(tail[kept:], gap=not kept)


def _overlap(seen: bytes, tail: bytes) -> int:
    """The length of the longest end of `seen` that `tail` begins with."""
    anchor = tail[:_LEAST_OVERLAP]
    at = seen.find(anchor)
    while at >= 0:
        if tail.startswith(seen[at:]):
            return len(seen) - at
        at = seen.find(anchor, at + 1)
    return 0


def tail_bytes(text: str, name: str, metadata: Mapping[str, str]) -> bytes:
    """The bytes of a stream out of its text; `name` is its metadata key, executor.0.stdout."""
    data = text.encode()
    if metadata.get(f"{name}.encoding") != "backslash":
        return data
    return _ESCAPE.sub(_unescape, data)


def _unescape(found: re.Match[bytes]) -> bytes:
    escaped = found[1]
    return b"\\" if escaped == b"\\" else bytes.fromhex(escaped[1:].decode())
