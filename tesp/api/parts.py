"""All that the API knows of the rest of the program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from tesp.settings import ServerSettings
from tesp.staging.keys import Keys
from tesp.staging.storages import Storages
from tesp.store import EventLog, FigureStore, TaskStore, TransferStore
from tesp.store.admission import Admission
from tesp.store.following import LogNews


@dataclass(frozen=True, slots=True)
class FileParts:
    """What it takes to move files for the jobs' own side: so many at once, and none for a peer
    that is silent for so long."""

    store: TransferStore
    storages: Storages
    keys: Keys
    transfers: int
    silence_seconds: float


@dataclass(frozen=True, slots=True)
class Parts:
    """What the composition root hands in.

    `admission` judges new tasks; `storage` gives the URL prefixes to advertise; `owner` names who
    makes a request, which is always the same name while requests are not authenticated. Without
    `files` no files are moved, without `figures` none are told.
    `news` wakes those who follow the log; `topic_prefix` begins the topics of messages.
    """

    store: TaskStore
    log: EventLog
    settings: ServerSettings
    admission: Admission
    storage: Callable[[], Sequence[str]]
    owner: Callable[[Request], str]
    files: FileParts | None = None
    figures: FigureStore | None = None
    news: LogNews | None = None
    topic_prefix: str = "tesp"
