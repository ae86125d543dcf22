"""`tesp agent metrics`: measure this node; or collect what all nodes say, or show it."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from tesp.cli.agent.desk import Flags, Who, keeping_site, notebook_file, plain_site
from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, Site
from tesp.cli.bus.spools import SpoolDir
from tesp.cli.configuration import DataDir, SettingsFile
from tesp.errors import SettingsError

if TYPE_CHECKING:
    from tesp.bus import Bus
    from tesp.bus.prodiguer import Producer
    from tesp.bus.sender import Sender

Collect = Annotated[bool, typer.Option("--collect", help="Keep what all nodes say, and answer.")]
Show = Annotated[bool, typer.Option("--show", help="Show what the collector of this machine has.")]
Node = Annotated[str | None, typer.Argument(metavar="[NODE]", help="With --show: this one alone.")]
Last = Annotated[float, typer.Option(min=0.1, help="With --show NODE: seconds back from now.")]
AsJson = Annotated[bool, typer.Option("--json", help="With --show: as JSON.")]


def metrics(
    node: Node = None,
    collect: Collect = False,
    show: Show = False,
    last: Last = 3600.0,
    as_json: AsJson = False,
    who: Who = "collector",
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    spool: SpoolDir = None,
    data: DataDir = None,
    settings_file: SettingsFile = None,
) -> None:
    """Measure this node again and again, and say so on the bus.

    Example: tesp agent metrics --host mqtt://mq.example
    """
    flags = Flags(settings_file, data, host, broker, ca_file, prefix)
    if show and collect:
        raise SettingsError("--show and --collect are two things: run one after the other")
    if node and not show:
        raise SettingsError("NODE goes with --show; a node's own name is metrics.host")
    if show:
        from tesp.cli.agent.shown import show as show_metrics

        show_metrics(plain_site(flags).settings.metrics.port, node, last, as_json)
    elif collect:
        _collect(keeping_site(flags, who), who)
    else:
        there = plain_site(flags)

        async def work(bus: "Bus") -> None:
            await _sample(there, there.sender(bus, spool))

        there.run(work)


async def _sample(there: Site, sender: "Sender") -> None:
    import platform

    from tesp.agents.announcer import Announcer
    from tesp.agents.metrics.machine import Machine
    from tesp.agents.metrics.sampler import Sampler
    from tesp.cli.bus.running import stop_by_signals

    settings = there.settings.metrics
    sampler = Sampler(
        Machine(settings.paths),
        Announcer(sender),
        there.prefix,
        _producer(there),
        settings.host or platform.node(),
        settings.interval_seconds,
    )
    stop, _ = stop_by_signals()
    await sampler.run(stop)


def _collect(there: Site, who: str) -> None:
    async def work(bus: "Bus") -> None:
        from tesp.agents.metrics.collector import Collector
        from tesp.agents.metrics.lateness import Supervision
        from tesp.agents.metrics.records import SCHEMA
        from tesp.agents.notebook import Notebook
        from tesp.cli.bus.running import until_stopped

        settings = there.settings.metrics
        late = settings.late_seconds
        supervision = Supervision(there.prefix, _producer(there), late) if late else None
        async with AsyncExitStack() as stack:
            file = notebook_file(there, who, settings.store)
            notebook = await stack.enter_async_context(Notebook.opened(file, SCHEMA))
            collector = Collector(who, bus, there.prefix, settings, supervision, notebook)
            await until_stopped(collector.run())

    there.run(work)


def _producer(there: Site) -> "Producer":
    from tesp import __version__
    from tesp.agents.metrics.samples import APP
    from tesp.bus import brokers

    return replace(brokers.producer(there.settings.bus, __version__), app=APP)
