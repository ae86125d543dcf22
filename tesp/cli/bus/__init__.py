"""`tesp bus`: the tools of the bus. They load its layer when they run, not before."""

import typer

from tesp.cli.bus import beacon, control, install, listen, mails, queues, send, watch
from tesp.cli.bus.flags import TaelCommand


def group() -> typer.Typer:
    """All its commands."""
    app = typer.Typer(no_args_is_help=True, help="Send and take messages of the bus.")
    app.command(cls=TaelCommand)(send.send)
    app.command()(send.flush)
    app.command(cls=TaelCommand)(listen.listen)
    app.command(name="raise")(control.raise_pipeline)
    app.command(name="cancel")(control.cancel_pipeline)
    app.command()(beacon.beacon)
    app.command()(watch.watch)
    app.command()(queues.queues)
    app.command()(mails.mails)
    app.command(name="install-service")(install.install_service)
    return app
