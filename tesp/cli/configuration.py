"""The settings of `serve` and `doctor`: a file, variables, and the flags over both."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.settings import Settings

DEFAULT_FILE = Path("settings.toml")
_FILES_DIR = "files"

SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        envvar="TESP_SETTINGS",
        metavar="FILE",
        help="Default: ./settings.toml, where it exists.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Where the service keeps all that it keeps."),
]


def configured(
    file: Path | None, data: Path | None = None, **sections: Mapping[str, Any]
) -> "Settings":
    """The settings, with the flags that were given (not None) over them.

    Where no file roots are set, tasks may read and write DATA/files.
    """
    from tesp.settings import FileRoot, load
    from tesp.settings.complaints import checked

    if file is not None and not file.is_file():
        raise SettingsError(f"--settings: there is no file {file}")
    chosen = file or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    settings = load(chosen)
    # A task's URL is an absolute path, and so must the roots be.
    update: dict[str, Any] = {"data_dir": (data or settings.data_dir).absolute()}
    for name, values in sections.items():
        given = {k: v for k, v in values.items() if v is not None}
        section = getattr(settings, name)
        try:
            update[name] = checked(type(section), {**section.model_dump(), **given})
        except SettingsError as error:
            raise SettingsError(f"{name}.{error}") from None
    if not settings.staging.files:
        root = FileRoot(path=update["data_dir"] / _FILES_DIR)
        update["staging"] = settings.staging.model_copy(update={"files": (root,)})
    return settings.model_copy(update=update)


def make_own_roots(settings: "Settings") -> None:
    """Make the file roots inside the data directory; those elsewhere are the operator's."""
    for root in settings.staging.files:
        if root.path.is_relative_to(settings.data_dir):
            root.path.mkdir(parents=True, exist_ok=True)


def require_guarded(host: str, allow_open: bool) -> None:
    """Raise SettingsError where others could use the service, and nobody said that they may."""
    from tesp.settings.urls import is_loopback

    if allow_open or is_loopback(host):
        return
    raise SettingsError(
        f"server.host = {host} can be reached from other machines, and requests are not "
        "authenticated: whoever reaches it runs programs here. Listen on 127.0.0.1, behind a "
        "proxy that asks who is there, or say that this is meant: server.allow_open = true "
        "(TESP_SERVER__ALLOW_OPEN=true)"
    )
