"""Task ids: 26 characters of [0-9a-z], which sort by the time of their making."""

import os
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_task_id() -> str:
    """A fresh id: 48 bits of milliseconds, then 80 random bits (a ULID in lower case)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
