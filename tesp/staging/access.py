"""Which credentials go to which host."""

import base64
from collections.abc import Sequence
from urllib.parse import SplitResult

from pydantic import SecretStr

from tesp.settings import HostAccess
from tesp.staging.urls import userinfo


def access_of(parts: SplitResult, known: Sequence[HostAccess]) -> HostAccess | None:
    """The entry for `host:port`, or else for `host`; what the URL itself says goes first."""
    if (written := userinfo(parts)) is not None:
        # Unchecked: a wrong URL is its task's fault, and is told of where it is opened.
        return HostAccess.model_construct(
            host=parts.hostname or "", username=written[0], password=SecretStr(written[1])
        )
    port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    wanted = (f"{parts.hostname}:{port}", parts.hostname)
    for name in wanted:
        for access in known:
            if access.host.lower() == name:
                return access
    return None


DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 990}


def authorization(access: HostAccess | None) -> dict[str, str]:
    """The HTTP header for these credentials: Bearer for a token, Basic for a user."""
    if access is None:
        return {}
    if access.token is not None:
        return {"Authorization": f"Bearer {access.token.get_secret_value()}"}
    if access.username is None:
        return {}
    password = access.password.get_secret_value() if access.password else ""
    pair = base64.b64encode(f"{access.username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}
