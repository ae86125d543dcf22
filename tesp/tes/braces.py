"""Alternatives in the names of outputs, `x.{bam,bai}`, as workflow engines write them.

They are no wildcards of POSIX. A file of that very name comes first; where there is none,
each alternative is looked for. Pure.
"""

import re
from urllib.parse import unquote

from tesp.tes import paths

_ALTERNATIVES = re.compile(r"\{[^{},/]*(,[^{},/]*)+\}")


def has_alternatives(text: str) -> bool:
    """Whether a name holds `{a,b}`."""
    return _ALTERNATIVES.search(text) is not None


def base_of(path: str, url: str) -> tuple[str, str] | None:
    """The directory of the container and the URL above the first name that holds `{a,b}`,
    where path and URL end alike from there on; None for every other output."""
    names = paths.parts(path)
    first = next((n for n, name in enumerate(names) if has_alternatives(name)), None)
    if first is None or paths.is_pattern(path):
        return None
    head, *last = url.rsplit("/", len(names) - first)
    tail = "/".join(names[first:])
    if tail not in ("/".join(last), unquote("/".join(last))):
        return None
    return "/" + "/".join(names[:first]), head
