"""`tesp bus watch`: all that passes on the bus, for people."""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tesp.cli.bus.site import BrokerName, CaFile, Host, Prefix, site
from tesp.cli.configuration import SettingsFile

if TYPE_CHECKING:
    from tesp.bus import Bus, Message

# Whoever looks over a shoulder must not learn how to give orders.
_HIDDEN = "secret"
_STYLES = {
    "finished": "green",
    "started": "cyan",
    "queued": "blue",
    "initializing": "blue",
    "canceled": "yellow",
    "canceling": "yellow",
    "failed": "bold red",
    "falsestart": "bold red",
}

Topics = Annotated[
    list[str] | None, typer.Option("-t", "--topic", help="What to watch; + and # allowed.")
]
Statuses = Annotated[list[str] | None, typer.Option("--status", help="Only messages that say so.")]
Dropped = Annotated[
    list[str] | None, typer.Option("-d", "--drop", help="Leave out topics that contain this.")
]


def watch(
    topic: Topics = None,
    status: Statuses = None,
    drop: Dropped = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Topics that contain `test` as well.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    host: Host = None,
    broker: BrokerName = None,
    ca_file: CaFile = None,
    prefix: Prefix = None,
    settings_file: SettingsFile = None,
) -> None:
    """Show messages as they pass, coloured by their status, until Ctrl-C.

    Example: tesp bus watch --mqtt-env COGUK --status failed --status falsestart
    """
    from dataclasses import replace

    from tesp.agents.mirror import TEST, Selection, mirrored
    from tesp.cli.bus.running import until_stopped

    chosen = site(settings_file, host, broker, ca_file, prefix)
    # Nobody is to keep for us what passes while nobody watches.
    chosen = replace(chosen, broker=chosen.broker.model_copy(update={"client_id": None}))
    dropped = (*(drop or ()), *(() if everything else (TEST,)))
    filters = tuple(topic or [f"{chosen.prefix}/#"])
    show = _as_json if as_json else _shown()

    async def look(bus: "Bus") -> None:
        async for one in mirrored(bus, filters, Selection(dropped, tuple(status or ()))):
            show(one.message)

    async def work(bus: "Bus") -> None:
        await until_stopped(look(bus))

    chosen.run(work)


def _as_json(message: "Message") -> None:
    print(json.dumps({"topic": message.topic, **_whole(message)}), flush=True)


def _whole(message: "Message") -> dict[str, Any]:
    own = {"message_id": message.id, "correlation_id": message.correlation, "hops": message.hops}
    return {**own, **_seen(message)}


def _seen(message: "Message") -> dict[str, Any]:
    return {key: "***" if key == _HIDDEN else value for key, value in message.payload.items()}


def _shown() -> "Callable[[Message], None]":
    if not sys.stdout.isatty():
        return lambda message: print(_line(message), flush=True)
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)

    def show(message: "Message") -> None:
        style = _STYLES.get(str(message.payload.get("status")), "")
        console.print(Text(_line(message), style), soft_wrap=True)

    return show


def _line(message: "Message") -> str:
    """Time, topic, status and the rest; `!` where it is to be announced. Nothing in it moves the
    cursor: what messages say comes from anybody."""
    at = datetime.fromtimestamp(message.time).astimezone().strftime("%H:%M:%S")
    rest = {k: v for k, v in _seen(message).items() if k not in ("status", "ts", "announce")}
    mark = "!" if message.payload.get("announce") is True else " "
    status = str(message.payload.get("status") or message.payload.get("action") or "-")
    said = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in rest.items())
    line = f"{at} {mark} {message.topic}  {status}  {said}"
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line)
