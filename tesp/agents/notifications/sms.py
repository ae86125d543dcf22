"""Notes by SMS: each is posted to a gateway, which sends it."""

from typing import Any

import aiohttp

from tesp.agents.notifications import Note
from tesp.agents.notifications.sms_text import fitting
from tesp.agents.posting import judge
from tesp.errors import BusUnavailable
from tesp.settings import SmsSettings
from tesp.settings.notifications import TEXT, TO


class SmsNotifier:
    """Sends notes over an HTTP gateway."""

    def __init__(self, settings: SmsSettings) -> None:
        self._settings = settings
        self._headers = {k: v.get_secret_value() for k, v in settings.headers.items()}
        self._session: aiohttp.ClientSession | None = None

    async def notify(self, note: Note, receiver: str) -> None:
        """Post one; returns when the gateway has answered 2xx."""
        url = self._settings.url
        body = filled_in(self._settings.body, receiver, fitting(note.short))
        kind = "json" if self._settings.format == "json" else "data"
        # Gateways that know it send one text once, however often it is posted.
        headers = {"Idempotency-Key": f"{note.id}/{receiver}", **self._headers}
        try:
            async with self._opened().post(
                url, headers=headers, allow_redirects=False, **{kind: body}
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = error or "it took too long"
            raise BusUnavailable(f"The SMS gateway gave no answer: {reason}") from error
        judge(url, status)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds)
            self._session = aiohttp.ClientSession(timeout=timeout)
        return self._session


def filled_in(body: Any, to: str, text: str) -> Any:
    """A body with its fields in it, at every depth. What is filled in is not looked at again."""
    if isinstance(body, dict):
        return {key: filled_in(value, to, text) for key, value in body.items()}
    if isinstance(body, list):
        return [filled_in(value, to, text) for value in body]
    if isinstance(body, str):
        return body.replace(TO, to).replace(TEXT, text)
    return body
