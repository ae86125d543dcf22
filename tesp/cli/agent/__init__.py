"""`tesp agent`: the agents that come with tesp, a process each. They load when they run."""

import typer

from tesp.cli.agent import metrics, publisher, vocabulary


def group() -> typer.Typer:
    """All its commands."""
    app = typer.Typer(no_args_is_help=True, help="Run an agent on the bus.")
    app.command()(publisher.publisher)
    app.command()(metrics.metrics)
    app.command()(vocabulary.vocabulary)
    return app
