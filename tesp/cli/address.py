"""Where the service is, and with what to speak to it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from tesp.errors import RequestRefused

PREFIX = "/ga4gh/tes/v1"
DEFAULT_URL = "http://127.0.0.1:8000"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A bearer token, or a user with a password; both None: nothing is sent."""

    token: str | None = None
    basic: tuple[str, str] | None = None


def api_url(url: str) -> str:
    """The base of the API from what a person writes: a host, or the API's own address.

    A user or password in the URL is refused: it would show in error messages.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(whole)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise RequestRefused(f"{url}: not an http:// or https:// URL; try {DEFAULT_URL}")
    if parts.username is not None or parts.password is not None:
        raise RequestRefused(
            f"{parts.hostname}: leave user and password out of the URL; "
            "set TESP_USER and TESP_PASSWORD, or TESP_TOKEN"
        )
    path = parts.path.rstrip("/")
    for known in (PREFIX, "/v1"):
        path = path.removesuffix(known)
    return f"{parts.scheme}://{parts.netloc}{path}{PREFIX}"


def credentials(environ: Mapping[str, str]) -> Credentials:
    """TESP_TOKEN, or else TESP_USER with TESP_PASSWORD."""
    if token := environ.get("TESP_TOKEN"):
        return Credentials(token=token)
    if user := environ.get("TESP_USER"):
        return Credentials(basic=(user, environ.get("TESP_PASSWORD", "")))
    return Credentials()
