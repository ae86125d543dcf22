"""The addresses in settings, checked without ever repeating what may hold a password."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def http_url(url: str) -> str:
    """An http(s) URL of a host, without credentials, query or a slash at its end."""
    parts = _split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("this is no URL such as https://host:port")
    if parts.username is not None or parts.password is not None:
        raise ValueError("credentials do not belong into the URL: a token has its own key")
    if parts.query or parts.fragment:
        raise ValueError("this URL must end with its path: no ? and no #")
    return url.rstrip("/")


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


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "this is no URL: its port is no number, or its password holds one of : / @ # ? "
            "and not %3A %2F %40 %23 %3F"
        ) from None
    return parts
