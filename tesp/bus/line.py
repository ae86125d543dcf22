"""The connection that a bus publishes over."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Generic, TypeVar

from tesp.errors import BusError

T = TypeVar("T")


class Line(Generic[T]):
    """Opened when it is first wanted, and anew where it has ended. For one caller at a time."""

    def __init__(
        self, connect: Callable[[], AbstractAsyncContextManager[T]], has_ended: Callable[[T], bool]
    ) -> None:
        self._connect, self._has_ended = connect, has_ended
        self._stack = AsyncExitStack()
        self._opened: T | None = None

    async def opened(self) -> T:
        """The connection; raises BusUnavailable or BusRefused."""
        if self._opened is not None and self._has_ended(self._opened):
            await self.leave()
        if self._opened is None:
            self._opened = await self._stack.enter_async_context(self._connect())
        return self._opened

    async def leave(self) -> None:
        """Hang up."""
        self._opened = None
        with contextlib.suppress(BusError):
            await self._stack.aclose()
