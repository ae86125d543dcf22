"""The bus: messages about tasks, and between everything around them.

One contract, several brokers: in-process, MQTT, AMQP. What a message says is a flat JSON object on
a topic; what it is called on AMQP beside that, a routing key and headers. It has one id for ever,
however often it is sent; a correlation id that all that follows from one cause shares; and a count
of hops, so that what triggers itself comes to an end.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

Value = str | int | float | bool | None
MOST_HOPS = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    `topic` has its parts between slashes; `payload` is flat; `time` is seconds since the epoch.
    `key` and `type` are the routing key and the type code of Prodiguer, `headers` what goes beside
    them on AMQP; brokers that know no such things leave them out.
    """

    topic: str
    payload: Mapping[str, Value]
    id: str
    time: float
    correlation: str
    hops: int = 0
    key: str | None = None
    type: str | None = None
    headers: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as it came. `raw` is its body as it was sent; `trusted`: the broker or a secret
    vouches for its sender; `retained`: the broker kept it from before we subscribed."""

    message: Message
    raw: bytes
    trusted: bool = False
    retained: bool = False


class Outlet(Protocol):
    """Where messages can be sent to."""

    async def publish(self, messages: Sequence[Message]) -> None:
        """As a bus does it, with its errors."""
        ...


class Bus(Protocol):
    """A broker. Raises BusUnavailable (try again) or BusRefused (final, with the mend)."""

    name: str

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send in this order; returns when the broker has confirmed every one.

        Where it raises, some of them may have been sent: send all of them again. It raises
        MessageRefused where only one of them is at fault, not we.
        """
        ...

    def subscribe(
        self, *filters: str, name: str | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Messages whose topic matches one of the filters (MQTT's `+` and `#`), each once.

        Entered when the broker has taken the filters, however long that lasts; raises BusRefused
        where it never will. One is acknowledged when the next is asked for. Connections are made
        anew for ever; what is no message is logged and dropped. Where the broker's settings give
        a client id, what comes while nobody listens is kept; `name` then tells subscriptions of
        one client apart. Filters such as `*.*.*.*.0000` match routing keys, where there are any.
        """
        ...

    async def close(self) -> None:
        """Let go."""
        ...
