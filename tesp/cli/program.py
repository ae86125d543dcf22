"""The program: its commands, and the boundary where errors become exit codes."""

import os
import sys
from typing import Annotated

import typer

from tesp.cli import agent, bus, codes, doctor, logs, serve, submit, tasks
from tesp.cli.terminal import show_error
from tesp.errors import TespError

_HELP = (
    "Run tasks on a GA4GH Task Execution Service, and serve one.\n\n"
    "Try: tesp run task.json\n\n" + codes.TABLE
)


def program() -> typer.Typer:
    """All commands."""
    app = typer.Typer(
        name="tesp",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    app.command()(serve.serve)
    app.command()(submit.run)
    app.command()(submit.submit)
    app.command()(tasks.get)
    app.command(name="list")(tasks.list_tasks)
    app.command()(tasks.cancel)
    app.command()(tasks.wait)
    app.command()(logs.logs)
    app.command()(doctor.doctor)
    app.add_typer(bus.group(), name="bus")
    app.add_typer(agent.group(), name="agent")
    return app


def run() -> int:
    """Run what the command line says; gives the exit code. Never a traceback for TespErrors."""
    try:
        program()(prog_name="tesp")
    except TespError as error:
        show_error(error)
        return codes.code_of_error(error)
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter's last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return codes.Code.DONE


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"tesp {version('tesp')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass
