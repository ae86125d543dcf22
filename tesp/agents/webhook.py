"""Webhooks of the site: each target is a sink of its own."""

from collections.abc import Sequence

import aiohttp

from tesp.agents.bus_sink import Projection
from tesp.agents.posting import post
from tesp.agents.selecting import wants
from tesp.settings import TargetSettings
from tesp.store.log import Logged


class WebhookSink:
    """Posts the events that a target wants, one after another."""

    def __init__(self, target: TargetSettings, projection: Projection) -> None:
        self.name = f"webhook:{target.name}"
        self._target = target
        self._secret = target.secret.get_secret_value().encode()
        self._projection = projection
        self._session: aiohttp.ClientSession | None = None
        self._done = 0

    async def send(self, events: Sequence[Logged]) -> None:
        """Post them in order. What was posted before a failure is not posted again."""
        for entry in events:
            if entry.sequence > self._done and wants(self._target, entry.event):
                message = self._projection(entry.event)
                await post(self._opened(), self._target.url, message, self._secret)
            self._done = max(self._done, entry.sequence)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._target.timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session
