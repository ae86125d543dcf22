"""Settings out of variables: `TESP_STORE__KIND=mongodb`, `TESP_PULSARS__0__TOKEN=...`."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from tesp.errors import SettingsError

# The TESP API's own prefix goes first, so that ours wins.
_PREFIXES = ("TESP_API_", "TESP_")
# No settings: where to look for them, and what the command line speaks with.
_OTHERS = frozenset(
    f"TESP_{n}" for n in ("ENV", "SETTINGS", "URL", "TOKEN", "USER", "PASSWORD", "BUS_PASSWORD")
)


def put_over(data: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put every variable that is set, and not empty, over the data."""
    for prefix in _PREFIXES:
        for name in sorted(environ):
            if _prefix(name) == prefix and name not in _OTHERS and environ[name]:
                path = name.removeprefix(prefix).lower().split("__")
                _put(data, path, _value(environ[name]), name)


def _prefix(name: str) -> str | None:
    return next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)


def _put(data: dict[str, Any], path: list[str], value: Any, variable: str) -> None:
    place: Any = data
    for part, following in zip(path, [*path[1:], None], strict=True):
        last = following is None
        if isinstance(place, list):
            place = _put_in_list(place, part, value if last else {}, last, variable)
        elif isinstance(place, dict):
            if last:
                place[part] = value
            else:
                place = place.setdefault(part, [] if following == "0" else {})
        else:
            raise SettingsError(f"{variable}: there is a single value where it wants to go in")


def _put_in_list(items: list[Any], part: str, value: Any, last: bool, variable: str) -> Any:
    """The item of a number, which may be the next that is not there yet."""
    if not part.isdigit() or int(part) > len(items):
        raise SettingsError(f"{variable}: {part} is none of the numbers 0 to {len(items)}")
    number = int(part)
    if number == len(items):
        items.append(value)
    elif last:
        items[number] = value
    return items[number]


def _value(text: str) -> Any:
    """Lists, tables and quoted strings in JSON or TOML; anything else as it stands, which its
    setting turns into what it is: a password of digits stays one."""
    if not text.startswith(("[", "{", '"', "'")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
