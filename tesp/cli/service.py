"""The task service over HTTP, as the command line uses it.

httpx is loaded by the first Service: `tesp --help` and shell completion must be quick.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from tesp.cli.address import PREFIX, Credentials
from tesp.cli.pauses import FIRST_SECONDS, Pauses
from tesp.errors import (
    Conflict,
    InvalidTask,
    NotFound,
    Problem,
    RequestRefused,
    ServiceUnreachable,
    TespError,
)
from tesp.tes.states import State

if TYPE_CHECKING:
    import httpx

Document = dict[str, Any]
Note = Callable[[str], None]

PATIENCE_SECONDS = 60.0
# For a service that has not answered yet, but did take the connection.
_FIRST_PATIENCE_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_PAGE_SIZE = 256
# What a proxy says while the service behind it starts again.
_AWAY = frozenset({502, 503, 504})


def state_of(task: Document) -> State:
    """The state of a task; one that we do not know is UNKNOWN."""
    given = task.get("state", "")
    return State(given) if given in State.__members__ else State.UNKNOWN


class Service:
    """One task service. Once it has answered, it is waited for when it goes away for a while.

    `note` tells the user that we are waiting. `waits` is whether the service has said that it
    can hold an answer back until a task changes.
    """

    def __init__(
        self,
        api: str,
        credentials: Credentials,
        note: Note,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        import httpx

        headers = {"Accept": "application/json"}
        if credentials.token:
            headers["Authorization"] = f"Bearer {credentials.token}"
        self._api = api
        self._note = note
        self._patience_seconds = patience_seconds
        self._answered = False
        self.waits = False
        self._client = httpx.Client(
            headers=headers,
            auth=credentials.basic,
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            # Reading the certificates of all authorities takes longer than most commands.
            verify=api.startswith("https:"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def create(self, document: Document, key: str) -> str:
        """Submit a task; with the same key again gives the same id. The id."""
        headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
        # In ASCII: what cannot be written in UTF-8 is for the service to judge.
        made = self._send("POST", "/tasks", content=json.dumps(document), headers=headers)
        return str(made["id"])

    def task(self, task_id: str, view: str = "MINIMAL") -> Document:
        """One task; raises NotFound."""
        return self._send("GET", f"/tasks/{quote(task_id, safe='')}", params={"view": view})

    def linger(self, task_id: str, state: State, seconds: float) -> None:
        """Let so much time pass, or less where the service tells that the task left `state`."""
        if not self.waits or state is State.UNKNOWN:
            time.sleep(seconds)
            return
        asked = {"wait": round(seconds, 3), "since": state.value}
        began = time.monotonic()
        seen = self._send("GET", f"/tasks/{quote(task_id, safe='')}", params=asked)
        early = time.monotonic() - began < seconds
        if early and state_of(seen) is state:
            # It is about to end, and answers everybody.
            time.sleep(min(seconds, FIRST_SECONDS))

    def tasks(self, filters: Mapping[str, Any], limit: int) -> Iterator[Document]:
        """Up to `limit` tasks, page by page."""
        token = None
        while limit > 0:
            asked = {**filters, "page_size": min(limit, _PAGE_SIZE)}
            page = self._send(
                "GET", "/tasks", params=asked | ({"page_token": token} if token else {})
            )
            found = page["tasks"][:limit]
            yield from found
            limit -= len(found)
            token = page.get("next_page_token")
            if not token:
                return

    def cancel(self, task_id: str) -> None:
        """Ask to end a task; one that has ended already stays as it is."""
        self._send("POST", f"/tasks/{quote(task_id, safe='')}:cancel")

    def queues(self) -> Document:
        """What waits for sinks and in brokers' queues."""
        return self._send("GET", "/queues", base=self._api.removesuffix(PREFIX))

    def _send(self, method: str, path: str, base: str | None = None, **request: Any) -> Document:
        response = self._answer(method, (self._api if base is None else base) + path, request)
        self._answered = True
        self.waits |= "tesp-wait" in response.headers
        if response.is_error:
            raise refusal(response)
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ServiceUnreachable(f"{self._api}: what answers there is no task service")
        return document

    def _answer(self, method: str, url: str, request: Mapping[str, Any]) -> "httpx.Response":
        """Try until there is an answer, or patience ends; every request may be repeated."""
        started = time.monotonic()
        pauses = Pauses()
        while True:
            why, response, patience_seconds = self._try(method, url, request)
            if response is not None:
                return response
            if time.monotonic() - started >= patience_seconds:
                raise ServiceUnreachable(
                    f"{self._api} does not answer ({why}). Is the service running there? "
                    "Start one with `tesp serve`, or name another with --url or TESP_URL."
                )
            if pauses.first:
                self._note(f"The service does not answer ({why}); waiting for it ...")
            time.sleep(next(pauses))

    def _try(
        self, method: str, url: str, request: Mapping[str, Any]
    ) -> "tuple[str, httpx.Response | None, float]":
        """What is wrong, the answer, and for how long to try on where there is none."""
        import httpx

        patience = self._patience_seconds if self._answered else _FIRST_PATIENCE_SECONDS
        try:
            response = self._client.request(method, url, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return str(error), None, patience if self._answered else 0.0
        except httpx.TransportError as error:
            return str(error) or type(error).__name__, None, patience
        if response.status_code in _AWAY:
            return f"HTTP {response.status_code}", None, patience
        return "", response, patience


def refusal(response: "httpx.Response") -> TespError:
    """The error that a 4xx or 5xx answer stands for."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    said = str(body.get("detail") or body.get("title") or response.reason_phrase)
    problems = [Problem(str(p["field"]), str(p["message"])) for p in body.get("errors") or ()]
    match response.status_code:
        case 400 | 422 if problems:
            return InvalidTask(problems)
        case 401 | 403:
            return RequestRefused(f"{said} (set TESP_TOKEN, or TESP_USER and TESP_PASSWORD)")
        case 404:
            return NotFound(said)
        case 409:
            return Conflict(said)
        case status if status < 500:
            return RequestRefused(said)
        case status:
            return ServiceUnreachable(f"The service failed: HTTP {status}: {said}")
