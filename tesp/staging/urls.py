"""URLs: their parts, the names below them, and what of them may be shown."""

import re
from urllib.parse import SplitResult, quote, unquote, urlsplit

from tesp.errors import UnsupportedUrl

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_ESCAPED = frozenset({"http", "https", "ftp", "ftps", "file"})
# All that RFC 3986 lets stand in a path; what is not listed is escaped.
_PATH_SAFE = "/-._~!$&'()*+,;=:@"


def scheme(url: str) -> str:
    """The scheme in lower case; `file` for a bare /path, empty where there is none."""
    if url.startswith("/"):
        return "file"
    match = _SCHEME.match(url)
    return match[1].lower() if match else ""


def shown(url: str) -> str:
    """The URL fit for a message: without user, password, and query (where signatures are)."""
    kind = scheme(url)
    if url.startswith("/") or kind in ("s3", "file"):
        return re.sub(r"^([^/]+://)[^/]*@", r"\1", url)
    try:
        parts = urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        return f"{kind}://..."
    query = "?..." if parts.query else ""
    host = parts.hostname or ""
    return f"{kind}://{f'[{host}]' if ':' in host else host}{port}{parts.path}{query}"


def split(url: str) -> SplitResult:
    """The parts of a URL with a host; UnsupportedUrl where it cannot be read."""
    try:
        parts = urlsplit(url)
        known = parts.port is None or parts.port > 0
    except ValueError:
        known = False
    if not known or any(c in url for c in "\r\n\0"):
        raise UnsupportedUrl(f"{shown(url)}: the URL cannot be read; escape what is not plain")
    if not parts.hostname:
        raise UnsupportedUrl(f"{shown(url)}: the URL names no host")
    return parts


def userinfo(parts: SplitResult) -> tuple[str, str] | None:
    """User and password written in the URL, unescaped."""
    if parts.username is None:
        return None
    return unquote(parts.username), unquote(parts.password or "")


def below(url: str, name: str) -> str:
    """The URL of the file `name` (parts joined by `/`) below a directory URL."""
    if url.startswith("/") or scheme(url) not in _ESCAPED:
        return f"{url.rstrip('/')}/{name}"
    base, mark, rest = _before_query(url)
    return f"{base.rstrip('/')}/{quote(name, safe=_PATH_SAFE)}{mark}{rest}"


def _before_query(url: str) -> tuple[str, str, str]:
    return url.partition("?") if scheme(url) in ("http", "https") else (url, "", "")


def escapes(name: str) -> bool:
    """Whether a name from a listing would leave the directory it is put in."""
    return "\0" in name or any(part in ("", ".", "..") for part in name.split("/"))
