"""All that the API knows of the rest of the program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from tesp.settings import ServerSettings
from tesp.store import EventLog, TaskStore
from tesp.tes.rules import CheckUrl, Limits


@dataclass(frozen=True, slots=True)
class Parts:
    """What the composition root hands in.

    `storage` gives the URL prefixes to advertise; `owner` names who makes a request, which is
    always the same name while requests are not authenticated.
    """

    store: TaskStore
    log: EventLog
    settings: ServerSettings
    limits: Limits
    check_url: CheckUrl
    storage: Callable[[], Sequence[str]]
    owner: Callable[[Request], str]
