"""What comes in: each ingress turns what a sender of the world says into messages.

An ingress knows no broker: it gives each message to whoever it was told to deliver to, and tells
its sender that all is well only when that has returned. Where delivery raises BusError the sender
is told to try again; MessageRefused is about this one message, which is not tried again.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from tesp.bus import Delivery

Deliver = Callable[[Delivery], Awaitable[None]]


class Ingress(Protocol):
    """One way in, from `start` to `close`; `start` raises SettingsError where it cannot be."""

    async def start(self) -> None:
        """Listen, or connect; returns at once."""
        ...

    async def close(self) -> None:
        """Finish what is being delivered, and let go."""
        ...
