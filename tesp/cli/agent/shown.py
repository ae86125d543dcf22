"""What the collector of this machine has, for people."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tesp.cli.terminal import show_json, show_table, size_text
from tesp.errors import NotFound, RequestRefused, ServiceUnreachable

_ANSWER_SECONDS = 30.0
_COLUMNS = ("CPU", "LOAD", "MEMORY", "SWAP", "DISK", "IN/S", "OUT/S", "TASKS")
_DISK = "disk_percent:"


def show(port: int, node: str | None, last: float, as_json: bool) -> None:
    """All nodes with their newest sample, or one node with those of the last seconds."""
    url = f"http://127.0.0.1:{port}"
    path = f"/hosts/{quote(node, safe='')}?last={last}" if node else "/hosts"
    found = _asked(url, path)
    if as_json:
        show_json(found)
    elif node:
        rows = [(_moment(one["time"]), *_cells(one["values"])) for one in found["samples"]]
        show_table(("TIME", *_COLUMNS), rows)
    else:
        rows = [(*_name(one), *_cells(one["values"])) for one in found["hosts"]]
        show_table(("NODE", "HEARD", "ALARMS", *_COLUMNS), _with_alarms(rows, url))


def _asked(url: str, path: str) -> dict[str, Any]:
    import httpx

    try:
        response = httpx.get(url + path, timeout=_ANSWER_SECONDS, trust_env=False)
        document = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ServiceUnreachable(
            f"{url} does not answer ({error}). Does the collector run on this machine? "
            "Start one with `tesp agent metrics --collect`."
        ) from error
    detail = document.get("detail")
    if response.status_code == httpx.codes.NOT_FOUND:
        raise NotFound(f"{detail}.")
    if response.is_error:
        raise RequestRefused(f"{detail}.")
    return dict(document)


def _with_alarms(rows: list[tuple[str, ...]], url: str) -> list[tuple[str, ...]]:
    raised: dict[str, list[str]] = {}
    for one in _asked(url, "/alarms")["alarms"]:
        raised.setdefault(one["host"], []).append(one["alarm"])
    return [(*row[:2], " ".join(raised.get(row[0], ())) or "-", *row[2:]) for row in rows]


def _name(one: Mapping[str, Any]) -> tuple[str, str]:
    heard = one["heard"]
    return one["host"], "ended" if heard is None else f"{max(time.time() - heard, 0):.0f} s ago"


def _cells(values: Mapping[str, float]) -> tuple[str, ...]:
    disks = [value for key, value in values.items() if key.startswith(_DISK)]
    return (
        _percent(values.get("cpu_percent")),
        f"{values['load_5']:.2f}" if "load_5" in values else "-",
        _percent(values.get("memory_percent")),
        _percent(values.get("swap_percent")),
        _percent(max(disks, default=None)),
        size_text(int(values.get("network_received_per_second", 0))),
        size_text(int(values.get("network_sent_per_second", 0))),
        f"{values.get('tasks', 0):.0f}",
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}%"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")
