"""Settings out of files: sections that inherit [default], one of them chosen."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tesp.errors import SettingsError
from tesp.settings import legacy, variables
from tesp.settings.complaints import checked
from tesp.settings.variables import NO_ORIGINS, Origins
from tesp.settings.whole import Settings

_DEFAULT = "default"
# Over all others, as dynaconf has it.
_GLOBAL = "global"
# The TESP API's name for it, and ours.
_CHOICES = ("FASTAPI_PROFILE", "TESP_ENV")
_SECRETS = ".secrets.toml"
_MERGE = "dynaconf_merge"
# What a section holds, and what is none itself.
_KEYS = frozenset(Settings.model_fields) | legacy.LEGACY_KEYS

Sections = dict[str, dict[str, Any]]


def read(file: Path | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], Origins]:
    """All that files and variables say, and which variables said what; nothing of it is checked
    yet."""
    variable, name = _choice(environ)
    files = [path for path in ((file, file.with_name(_SECRETS)) if file else ()) if path.is_file()]
    layers = [_sections(path) for path in files]
    known = sorted({section for sections in layers for section in sections} | {_DEFAULT})
    if name not in known:
        where = ", ".join(map(str, files)) or "there is no settings file"
        raise SettingsError(
            f"{variable} = {name}: no such section; there are: {', '.join(known)} ({where})"
        )
    chosen = dict.fromkeys((_DEFAULT, name, _GLOBAL))
    data = _merged([layer[section] for section in chosen for layer in layers if section in layer])
    origins = variables.put_over(data, environ)
    if kind := environ.get(legacy.CONTAINER_TYPE):
        data = legacy.with_container_type(data, kind)
    return data, origins


def parse(data: Mapping[str, Any], origins: Origins = NO_ORIGINS) -> Settings:
    """Check a mapping as it stands in a section; legacy keys are understood."""
    return checked(Settings, legacy.translated(data, origins), origins)


def load(file: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read settings; raises SettingsError that names every wrong key, or variable, and its mend."""
    return parse(*read(file, os.environ if environ is None else environ))


def _choice(environ: Mapping[str, str]) -> tuple[str, str]:
    """The section that is asked for, and the variable that asks."""
    asked = {variable: environ[variable].lower() for variable in _CHOICES if environ.get(variable)}
    if len(set(asked.values())) > 1:
        both = " and ".join(f"{variable} = {name}" for variable, name in asked.items())
        raise SettingsError(f"{both} name two sections: set one of them, or both alike")
    return next(iter(asked.items()), (_CHOICES[-1], _DEFAULT))


def _sections(file: Path) -> Sections:
    """The sections of a file by their names in lower case."""
    try:
        document = tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{file}: {error}") from None
    for name, value in document.items():
        if not isinstance(value, dict) or name in _KEYS:
            raise SettingsError(
                f"{file}: {name} stands outside of every section; it belongs into [{_DEFAULT}], "
                f"as in [{_DEFAULT}.server]"
            )
    return {name.lower(): {k.lower(): v for k, v in s.items()} for name, s in document.items()}


def _merged(layers: list[dict[str, Any]]) -> dict[str, Any]:
    """Each over those before it: tables key by key, anything else as a whole.

    A table with `dynaconf_merge = false` takes the place of the one before it, and a list with
    "dynaconf_merge" in it goes after that one's items.
    """
    from dynaconf.utils import object_merge

    data: dict[str, Any] = {}
    for layer in layers:
        data = object_merge(data, layer, list_merge="shallow")
    return _filled_in(data)


def _filled_in(data: dict[str, Any]) -> dict[str, Any]:
    """With what stands for the marks in values: "@format {env[HOME]}/data"."""
    from dynaconf import Dynaconf
    from dynaconf.utils.parse_conf import DynaconfFormatError, DynaconfParseError

    source = Dynaconf(environments=False, envvar_prefix=False, core_loaders=[], loaders=[])
    try:
        source.update(data, dotted_lookup=False)
        return {key.lower(): _plain(value) for key, value in source.as_dict().items()}
    except DynaconfFormatError as error:
        raise SettingsError(f"a value cannot be filled in: {error} is not there") from None
    except DynaconfParseError:
        raise SettingsError("a value is none of the kind that its mark (@...) says") from None


def _plain(value: Any) -> Any:
    """Without dynaconf's types, and without marks of merges that found nothing to merge with."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != _MERGE}
    if isinstance(value, list):
        return [_plain(inner) for inner in value if inner != _MERGE]
    return value
