"""`tesp bus queues`: what waits, and whether anybody takes it."""

from typing import Annotated, Any

import typer

from tesp.cli.options import DEFAULT_URL, Url, connect
from tesp.cli.terminal import note, show_json, show_table

# For so long a sink may be busy with what it was given.
_PATIENCE_SECONDS = 60.0
_SIGN = "!"

Row = tuple[str, ...]


def queues(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what waits for each sink of events, and in each queue of a broker that the service
    knows; `!` where it waits and nobody takes it.

    Example: tesp bus queues --url http://tes.example
    """
    with connect(url) as service:
        report = service.queues()
    if as_json:
        show_json(report)
        return
    rows = [*(_sink(one, report["time"]) for one in report["sinks"]), *_queues(report["brokers"])]
    show_table(("", "WHERE", "WAITING", "CONSUMERS", "SINCE"), rows)
    for broker in report["brokers"]:
        if broker["error"]:
            note(f"{broker['name']}: {broker['error']}")


def _sink(sink: dict[str, Any], now: float) -> Row:
    """A sink is its own consumer; it is one while it moves."""
    age = now - sink["oldest"] if sink["oldest"] is not None else 0.0
    still = now - (sink["moved"] or 0.0)
    stuck = sink["waiting"] and min(age, still) > _PATIENCE_SECONDS
    since = _duration(age) if sink["waiting"] else ""
    return _SIGN if stuck else "", f"sink {sink['name']}", str(sink["waiting"]), "", since


def _queues(brokers: list[dict[str, Any]]) -> list[Row]:
    return [
        (
            _SIGN if queue["messages"] and not queue["consumers"] else "",
            f"{broker['name']} {queue['name']}",
            str(queue["messages"]),
            str(queue["consumers"]),
            "",
        )
        for broker in brokers
        for queue in broker["queues"]
    ]


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
