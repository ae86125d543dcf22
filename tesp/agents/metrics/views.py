"""What the collector knows, as JSON over HTTP."""

import difflib
import math
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesp.agents.metrics import records
from tesp.agents.notebook import Notebook
from tesp.agents.window import answer

_MOST_SAMPLES = 10_000


def routes(notebook: Notebook) -> Sequence[Route]:
    """`/hosts`, `/hosts/{host}?last=SECONDS&until=TIME&limit=N`, `/alarms`."""
    views = Views(notebook)
    return [
        Route("/hosts", views.hosts),
        Route("/hosts/{host}", views.samples),
        Route("/alarms", views.alarms),
    ]


class Views:
    """Reads the collector's notebook."""

    def __init__(self, notebook: Notebook) -> None:
        self._notebook = notebook

    async def hosts(self, request: Request) -> Response:
        """The newest sample of each host."""
        return answer({"now": time.time(), "hosts": await self._notebook.read(records.hosts)})

    async def alarms(self, request: Request) -> Response:
        """The alarms that are raised."""
        return answer({"alarms": await self._notebook.read(records.alarms)})

    async def samples(self, request: Request) -> Response:
        """The samples of one host: of the last hour, unless it is said."""
        host = request.path_params["host"]
        try:
            last, until, limit = _asked(request)
        except ValueError as error:
            return answer({"detail": str(error)}, 400)
        found = await self._notebook.read(
            lambda db: records.samples(db, host, until - last, until, limit)
        )
        if found is None:
            return await self._unknown(host)
        return answer({"host": host, "samples": found})

    async def _unknown(self, host: str) -> Response:
        known = [one["host"] for one in await self._notebook.read(records.hosts)]
        near = difflib.get_close_matches(host, known, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return answer({"detail": f"No node {host[:100]!r} was heard of{hint}"}, 404)


def _asked(request: Request) -> tuple[float, float, int]:
    found = []
    for name, default in (("last", 3600.0), ("until", time.time()), ("limit", _MOST_SAMPLES)):
        try:
            value = float(request.query_params.get(name, default))
        except ValueError:
            value = math.nan
        if not 0 < value < 1e12:
            raise ValueError(f"{name} is no number above 0")
        found.append(value)
    return found[0], found[1], max(1, min(int(found[2]), _MOST_SAMPLES))
