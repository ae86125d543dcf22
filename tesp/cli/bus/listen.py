"""`tesp bus listen`: run a command when a message says that something is finished."""

from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, site
from tesp.cli.bus.spools import SpoolDir
from tesp.cli.configuration import SettingsFile

if TYPE_CHECKING:
    from tesp.bus import Bus

Topic = Annotated[str, typer.Option("-t", "--topic", help="What to listen to; + and # allowed.")]
CommandLine = Annotated[
    str, typer.Option("-c", "--cmd", "--command", help="What to run, by the shell.")
]
Who = Annotated[str, typer.Option("--who", help="Name of this listener in its announcements.")]
Required = Annotated[
    list[str] | None,
    typer.Option(
        "--envreq", metavar="KEY...", help="Keys to have: exported under their bare names."
    ),
]
EnvPrefix = Annotated[
    str | None,
    typer.Option("--envprefix", metavar="P", help="Export every key as P_KEY, too."),
]
Passed = Annotated[
    list[str] | None,
    typer.Option(
        "--payload-passthrough",
        metavar="KEY...",
        help="Keys, or variables, that go on into the announcements.",
    ),
]
Parallel = Annotated[int, typer.Option(min=1, help="Commands at once; others wait.")]
Grace = Annotated[
    float, typer.Option(min=0, help="Seconds that a command has when the listener is to end.")
]
ClientId = Annotated[
    str | None,
    typer.Option(help="The broker keeps, under this name, what comes while nobody listens."),
]


def listen(
    topic: Topic,
    command: CommandLine,
    who: Who,
    envreq: Required = None,
    envprefix: EnvPrefix = None,
    payload_passthrough: Passed = None,
    parallel: Parallel = 1,
    grace: Grace = 30.0,
    client_id: ClientId = None,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    spool: SpoolDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Run a command for each message that says `finished`, and announce how it ends.

    The message's keys are in its environment as TAEL_KEY.

    Example: tesp bus listen -t COGUK/elan/status -c ./next.sh --who next --mqtt-env COGUK
    """
    from tesp.agents.announcer import Announcer
    from tesp.agents.environment import Exports
    from tesp.agents.shell import Orders, ShellListener
    from tesp.cli.bus.running import stop_by_signals

    exports = Exports(envprefix, tuple(envreq or ()), tuple(payload_passthrough or ())).checked()
    chosen = site(settings_file, host, broker, ca_file, prefix, client_id)
    secret = chosen.control_secret
    orders = Orders(topic, command, who, chosen.prefix, parallel, grace, exports, secret)
    kept = chosen.broker.client_id is not None

    async def work(bus: "Bus") -> None:
        announcer = Announcer(chosen.sender(bus, spool))
        await ShellListener(bus, announcer, orders, kept).run(*stop_by_signals())

    chosen.run(work)
