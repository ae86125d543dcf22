"""The addresses in settings, checked without ever repeating what may hold a password."""

import ipaddress
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

_NOT_IN_A_HOST = frozenset(" /@[]")
_NO_HOST = "this is no host such as tes.example, 192.0.2.1 or ::1: no scheme, path or brackets"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host(name: str) -> str:
    """The name or the address of a host, and nothing else."""
    if not name or not name.isprintable() or _NOT_IN_A_HOST.intersection(name):
        raise ValueError(_NO_HOST)
    if ":" in name and not _is_address(name):
        raise ValueError(_NO_HOST)
    return name


def host_and_port(text: str) -> str:
    """The same, where a port may follow."""
    name, colon, port = text.rpartition(":")
    if not colon or _is_address(text):
        return host(text)
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(_NO_HOST)
    return f"{host(name)}:{port}"


Host = Annotated[str, AfterValidator(host)]
"""A host to listen on, or to go to, whose port has a key of its own."""


def http_url(url: str) -> str:
    """An http(s) URL of a host, without credentials, query or a slash at its end."""
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no URL such as https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into the URL: they have keys of their own")
    if parts.query or parts.fragment:
        raise ValueError("this URL must end with its path: no ? and no #")
    return url.rstrip("/")


def origin(url: str) -> str:
    """What a browser says of a page's origin, sign by sign, or * for all."""
    parts = _split(url)
    usual = {"http": 80, "https": 443}.get(parts.scheme)
    plain = f"{parts.scheme}://{parts.netloc.lower()}"
    is_one = url == plain and parts.hostname and parts.username is None and parts.port != usual
    if url not in ("*", "null") and not is_one:
        raise ValueError(
            "this is no origin as browsers send it, such as https://portal.example or "
            "http://127.0.0.1:3000: lower case, neither a path nor the usual port"
        )
    return url


Origin = Annotated[str, AfterValidator(origin)]


def hook_url(url: str) -> str:
    """An http(s) URL of a host, without credentials; a query may be in it."""
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no URL such as https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into the URL: what is sent is signed")
    if parts.fragment or not url.isprintable() or " " in url:
        raise ValueError("this URL must hold neither # nor white space")
    return url


def amqp_url(url: str) -> str:
    """A broker's URL, amqp(s)://user:password@host:port/vhost."""
    parts = _split(url)
    if parts.scheme not in ("amqp", "amqps") or not parts.hostname:
        raise ValueError("this is no URL such as amqp://user:password@host:5672/vhost, or amqps:")
    return url


def broker_url(url: str) -> str:
    """A broker's URL, mqtt(s)://host:port or amqp(s)://host:port/vhost, without credentials."""
    parts = _split(url)
    if parts.scheme not in ("mqtt", "mqtts", "amqp", "amqps") or not parts.hostname:
        raise ValueError("this is no URL such as mqtt://host:1883, mqtts:, amqp: or amqps:")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into the URL: see username and password")
    if parts.query or parts.fragment:
        raise ValueError("this URL must end with its path: no ? and no #")
    if parts.scheme.startswith("mqtt") and parts.path not in ("", "/"):
        raise ValueError("MQTT has no virtual host: this URL must end with its port")
    return url


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            "this is no URL: its port is no number, or its password holds one of : / @ # ? "
            "and not %3A %2F %40 %23 %3F"
        ) from None
    if port == 0:
        raise ValueError("this URL names the port 0, which nobody can be reached at")
    return parts
