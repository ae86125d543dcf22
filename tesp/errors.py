"""The one exception tree of tesp.

TespError
├── SettingsError        the configuration cannot be used; names the key and the mend
├── InvalidTask          a request that can never run (HTTP 400); carries field problems
├── NotFound             no such task (404)
├── Conflict             the request contradicts what is stored (409)
├── Forgotten            it was there, and is kept no longer (410)
├── StoreError           the store could not do its work
│   └── StoreLocked      another process owns the embedded store
├── StagingError         bytes could not be moved; the message is fit for a user's eyes
│   ├── SourceMissing    nothing at that URL, final
│   ├── AccessRefused    credentials missing or wrong, final
│   ├── UnsupportedUrl   no storage of ours takes that URL, final
│   ├── DiskFull         no room at our end, final for this attempt
│   └── TransferFailed   broke in transit; worth another try
│       └── SourceChanged    another version than the one begun; a new attempt starts anew
├── BackendError         a backend could not do its work
│   ├── BackendUnavailable   out of reach for now
│   └── BackendRefused       it refused the job, final for this attempt
├── BusError             a broker or another taker of messages could not do its work
│   ├── BusUnavailable       out of reach for now
│   └── BusRefused           it refused the message or us, final; names the mend
│       └── MessageRefused       this one message is at fault; others may pass
│           └── RecipientRefused     a mail server will never take a mail for him
├── ServiceUnreachable   the command line got no answer from the service
└── RequestRefused       the service refused what the command line asked
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TespError(Exception):
    """The root of everything that tesp raises on purpose."""


class SettingsError(TespError):
    """The configuration cannot be used; the message names the key and the mend."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a request: the field's path (`inputs[0].url`) and the mend."""

    field: str
    message: str


class InvalidTask(TespError):
    """A request that can never run; carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in self.problems))


class NotFound(TespError):
    """There is no such task."""


class Conflict(TespError):
    """The request contradicts what is stored."""


class Forgotten(TespError):
    """What is asked for is kept no longer."""


class StoreError(TespError):
    """The store could not do its work."""


class StoreLocked(StoreError):
    """Another process owns the embedded store."""


class StagingError(TespError):
    """Bytes could not be moved. The message goes to the user: never put a secret in it."""


class SourceMissing(StagingError):
    """There is nothing at that URL."""


class AccessRefused(StagingError):
    """Credentials are missing or wrong."""


class UnsupportedUrl(StagingError):
    """No storage takes that URL."""


class DiskFull(StagingError):
    """There is no room left at our end."""


class TransferFailed(StagingError):
    """The transfer broke; another try may succeed."""


class SourceChanged(TransferFailed):
    """The source is no longer the version that was begun: what came so far is worthless."""


class BackendError(TespError):
    """A backend could not do its work."""


class BackendUnavailable(BackendError):
    """The backend is out of reach for now."""


class BackendRefused(BackendError):
    """The backend refused the job."""


class BusError(TespError):
    """A broker, or whoever else takes messages, could not do its work."""


class BusUnavailable(BusError):
    """It is out of reach for now."""


class BusRefused(BusError):
    """It refused the message, or us."""


class MessageRefused(BusRefused):
    """This one message is no message, or may not go where it wants to; others may pass."""


class RecipientRefused(MessageRefused):
    """The mail server will never take a mail for this recipient."""


class ServiceUnreachable(TespError):
    """The service gave no answer that can be used; the message says where it was looked for."""


class RequestRefused(TespError):
    """The service refused a request, for want of rights or for a reason that it gives."""
