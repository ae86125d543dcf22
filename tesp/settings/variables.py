"""Settings out of variables: `TESP_STORE__KIND=mongodb`, `TESP_PULSARS__0__TOKEN=...`."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tesp.errors import SettingsError
from tesp.settings.places import Path

# The TESP API's own prefix goes first, so that ours wins.
_PREFIXES = ("TESP_API_", "TESP_")
# No settings: where to look for them, and what the command line speaks with;
_SPOKEN = ("ENV", "SETTINGS", "URL", "TOKEN", "USER", "PASSWORD", "BUS_PASSWORD")
# what docker-compose.yaml is told, which .env.example names;
_COMPOSED = ("BIND", "DATA", "GID", "MTU", "NETWORK", "PORT", "DEV_PORT", "UID")
_IMAGES = ("IMAGE", "DEV_IMAGE")
# what the examples and the tests are told.
_TRIED = ("FILES", "TEST_MONGODB_URI")
OTHERS = frozenset(f"TESP_{name}" for name in (*_SPOKEN, *_COMPOSED, *_IMAGES, *_TRIED))
"""Variables that begin as ours do, and say no setting."""


@dataclass(frozen=True, slots=True)
class Origins:
    """Which variables said which keys."""

    variables: Mapping[Path, str]

    def around(self, path: Path) -> tuple[str, Path] | None:
        """The variable that said a key, or a table or a list that it is in; and what that is."""
        above = (path[:length] for length in range(len(path), 0, -1))
        return next(((self.variables[one], one) for one in above if one in self.variables), None)

    def within(self, path: Path) -> Sequence[tuple[str, Path]]:
        """The variables that said a key or something further in, and how much further."""
        depth = len(path)
        inner = (one for one in self.variables if depth and one[:depth] == path)
        return [(self.variables[one], one[depth:]) for one in inner]


NO_ORIGINS = Origins({})


def put_over(data: dict[str, Any], environ: Mapping[str, str]) -> Origins:
    """Put every variable that is set, and not empty, over the data."""
    origins: dict[Path, str] = {}
    for prefix in _PREFIXES:
        for name in sorted(environ):
            if _prefix(name) == prefix and name not in OTHERS and environ[name]:
                path = tuple(name.removeprefix(prefix).lower().split("__"))
                _put(data, path, _value(environ[name]), name)
                # What was further in is there no more.
                kept = {p: v for p, v in origins.items() if p[: len(path)] != path}
                origins = {**kept, path: name}
    return Origins(origins)


def spelled(path: Path, like: str) -> str:
    """The variable of a key, with the prefix of another variable."""
    return f"{_prefix(like)}{'__'.join(path).upper()}"


def _prefix(name: str) -> str | None:
    return next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)


def _put(data: dict[str, Any], path: Path, value: Any, variable: str) -> None:
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
    if not part.isdecimal() or int(part) > len(items):
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
