"""`tesp bus install-service`: a listener, beacon, watch or agent that a reboot starts again."""

import math
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tesp.errors import SettingsError, TespError

_COMMANDS = ("listen", "beacon", "watch")
_AGENT = "agent"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# What a listener needs beside its own grace, to send its last words.
_FAREWELL_SECONDS = 90
_GRACE_SECONDS = 30.0
_UNIT = """\
# Written by tesp bus install-service.
[Unit]
Description=tesp {command}: {name}

[Service]
ExecStart=/bin/sh {script}
Restart=always
RestartSec=5
# The program itself ends its commands, which have their grace; the rest falls with it.
KillMode=mixed
TimeoutStopSec={seconds}

[Install]
WantedBy=default.target
"""


@dataclass(frozen=True, slots=True)
class Service:
    """One command line of ours, such as `bus listen ...`, under a name. A script holds all that it
    needs of the environment that it was installed from, for neither systemd nor cron has it."""

    name: str
    words: tuple[str, ...]
    config: Path

    @property
    def script(self) -> Path:
        """What is started."""
        return self.config / "tesp" / f"{self.name}.sh"

    @property
    def unit(self) -> Path:
        """The user's unit."""
        return self.config / "systemd" / "user" / f"tesp-{self.name}.service"

    @property
    def wish(self) -> Path:
        """What starts the unit with the user's session: systemctl's `enable` makes it."""
        return self.unit.parent / "default.target.wants" / self.unit.name

    def script_text(self, program: Path, directory: Path, environ: Mapping[str, str]) -> str:
        """The variables of tesp and the PATH as they are here, then the program."""
        kept = {k: v for k, v in environ.items() if k == "PATH" or k.startswith("TESP_")}
        return "\n".join(
            [
                "#!/bin/sh",
                "# Written by tesp bus install-service; it may hold a password.",
                *(f"export {k}={shlex.quote(v)}" for k, v in sorted(kept.items())),
                f"cd {shlex.quote(str(directory))} || exit 1",
                f"exec {shlex.join([str(program), *self.words])}",
                "",
            ]
        )

    def unit_text(self) -> str:
        """The unit, in systemd's own way of quoting."""
        path = str(self.script).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        quoted = '"' + path.replace("$", "$$") + '"'
        seconds = _FAREWELL_SECONDS + float(_value(self.words, "--grace") or _GRACE_SECONDS)
        return _UNIT.format(
            command=" ".join(self.words[:2]),
            name=self.name,
            script=quoted,
            seconds=math.ceil(seconds),
        )

    def cron_line(self) -> str:
        """The line of a crontab, in which % would be a new line."""
        return f"@reboot {shlex.quote(str(self.script))}".replace("%", "\\%")


def install_service(
    words: Annotated[
        list[str],
        typer.Argument(metavar="-- COMMAND...", help="listen, beacon, watch or agent NAME ..."),
    ],
    name: Annotated[
        str | None, typer.Option(help="Of the service. Default: that of --who, or the command.")
    ] = None,
    cron: Annotated[
        bool, typer.Option("--cron", help="A line in the crontab, where there is no systemd.")
    ] = False,
) -> None:
    """Have a listener, beacon, watch or agent started again by each reboot.

    Example: tesp bus install-service -- listen -t COGUK/elan/status -c ./next.sh --who next
    """
    service = _service(words, name)
    program = Path(sys.argv[0]).absolute()
    _write(service.script, service.script_text(program, Path.cwd(), os.environ), 0o700)
    print(f"Wrote {service.script}, which is started.")
    (_install_in_cron if cron else _install_in_systemd)(service)


def _service(words: Sequence[str], name: str | None) -> Service:
    if words[0] not in (*_COMMANDS, _AGENT):
        services = ", ".join(_COMMANDS)
        raise SettingsError(f"-- {words[0]}: a service is one of {services}, or agent NAME")
    whole = tuple(words) if words[0] == _AGENT else ("bus", *words)
    _check(whole)
    chosen = name or _value(words, "--who") or whole[1]
    if not _NAME.fullmatch(chosen):
        raise SettingsError(f"--name: {chosen!r} holds more than letters, digits and _ . -")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Service(chosen, whole, config.absolute())


def _check(words: Sequence[str]) -> None:
    """Raise the usage error that the command itself would raise."""
    from typer.core import TyperGroup
    from typer.main import get_command

    from tesp.cli import agent, bus

    commands = get_command((agent if words[0] == _AGENT else bus).group())
    assert isinstance(commands, TyperGroup)
    name = words[1] if len(words) > 1 else ""
    if name not in commands.commands:
        known = ", ".join(commands.commands)
        raise SettingsError(f"-- {words[0]} {name}: there are {known}")
    commands.commands[name].make_context(f"tesp {words[0]} {name}", list(words[2:]))


def _value(words: Sequence[str], flag: str) -> str | None:
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None


def _install_in_systemd(service: Service) -> None:
    _write(service.unit, service.unit_text(), 0o644)
    service.wish.parent.mkdir(parents=True, exist_ok=True)
    service.wish.unlink(missing_ok=True)
    service.wish.symlink_to(service.unit)
    unit = service.unit.name
    print(f"Wrote {service.unit}, and enabled it by {service.wish}.")
    print("\nStart it now, and at each boot even before you log in:")
    print(f"  systemctl --user daemon-reload && systemctl --user restart {unit}")
    print("  loginctl enable-linger")
    print("\nTake it back:")
    print(f"  systemctl --user disable --now {unit}")
    print(f"  rm {shlex.quote(str(service.unit))} {shlex.quote(str(service.script))}")


def _install_in_cron(service: Service) -> None:
    line = service.cron_line()
    others = [one for one in _crontab().splitlines() if one != line]
    _put_crontab("\n".join([*others, line, ""]))
    print(f"Put this line into your crontab:\n  {line}")
    print("\nStart it now:")
    print(f"  nohup {shlex.quote(str(service.script))} >/dev/null 2>&1 &")
    print("\nTake it back:")
    print(f"  crontab -l | grep -vxF {shlex.quote(line)} | crontab -")
    print(f"  rm {shlex.quote(str(service.script))}")


def _crontab() -> str:
    """What there is; cron says that there is none by an error."""
    done = _cron("-l")
    if done.returncode and "no crontab" not in done.stderr:
        raise TespError(f"The crontab cannot be read: {done.stderr.strip()}")
    return "" if done.returncode else done.stdout


def _put_crontab(text: str) -> None:
    done = _cron("-", text)
    if done.returncode:
        raise TespError(f"The crontab cannot be written: {done.stderr.strip()}")


def _cron(argument: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            ["crontab", argument],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise TespError("There is no program crontab here: install cron.") from None


def _write(path: Path, text: str, mode: int) -> None:
    """At once or not at all: a service may be running it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        anew = path.with_name(f".{path.name}.new")
        anew.unlink(missing_ok=True)
        with os.fdopen(os.open(anew, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
        anew.chmod(mode)
        anew.replace(path)
    except OSError as error:
        raise TespError(f"{path} cannot be written: {error.strerror}.") from error
