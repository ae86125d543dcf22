"""The task service, as the publisher asks it."""

from typing import Any
from urllib.parse import quote

import httpx

from tesp.errors import NotFound, RequestRefused, ServiceUnreachable
from tesp.settings import PublisherSettings

_TASKS = "/ga4gh/tes/v1/tasks"
_ANSWER_SECONDS = 30.0


class TaskService:
    """Reads tasks."""

    def __init__(self, settings: PublisherSettings) -> None:
        token = settings.token.get_secret_value() if settings.token else None
        self._url = settings.url
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=_ANSWER_SECONDS,
            # Reading the certificates of all authorities takes a while.
            verify=self._url.startswith("https:"),
        )

    async def task(self, identifier: str) -> dict[str, Any]:
        """A task with its outputs.

        Raises NotFound, RequestRefused, or ServiceUnreachable where it is to be asked again.
        """
        url = f"{self._url}{_TASKS}/{quote(identifier, safe='')}"
        try:
            response = await self._client.get(url, params={"view": "BASIC"})
            document = response.json() if response.is_success else {}
        except (httpx.HTTPError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise ServiceUnreachable(f"{self._url} does not answer as it should: {why}") from error
        if response.status_code == httpx.codes.NOT_FOUND:
            raise NotFound("the service knows no such task")
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise RequestRefused(f"{self._url} refuses us: see publisher.token")
        if not isinstance(document, dict) or document.get("id") != identifier:
            raise ServiceUnreachable(f"{self._url} answers {response.status_code}")
        return document

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.aclose()
