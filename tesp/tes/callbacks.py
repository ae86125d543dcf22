"""Callback URLs: which a task may name. Pure."""

import re
from collections.abc import Sequence

PARAMETER = "callback_url"
_LONGEST = 2048
# Strict, so that nobody after us reads another host in it.
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
    r"(:(?P<port>[0-9]{1,5}))?(?P<rest>[/?][!-~]*)?"
)


def host_of(url: str) -> str | None:
    """The host of a callback URL, in lower case; None where it is no such URL."""
    found = _URL.fullmatch(url)
    if found is None or len(url) > _LONGEST or not int(found["port"] or 1) < 65536:
        return None
    if any(sign in (found["rest"] or "") for sign in "#\\"):
        return None
    return found["host"].lower().strip("[]").rstrip(".")


def is_named(host: str, allowed: Sequence[str]) -> bool:
    """Whether the host is allowed by its very name."""
    return host in allowed


def is_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Whether the host is allowed, by its name or as one of a domain (`*.example.org`)."""
    domains = [pattern[1:] for pattern in allowed if pattern.startswith("*.")]
    return is_named(host, allowed) or any(
        host.endswith(domain) and len(host) > len(domain) for domain in domains
    )


def wrong(url: str, allowed: Sequence[str]) -> str | None:
    """What is wrong with a callback URL, with the mend."""
    host = host_of(url)
    if host is None:
        return "must be a URL such as https://host/path, of at most 2048 signs, without user or #"
    if not is_allowed(host, allowed):
        return f"{host} is called by nobody here; choose a host of {', '.join(allowed)}"
    return None
