"""Ids of messages that were met before: the newest of them, in bounded memory."""

from collections import OrderedDict


class Known:
    """A set of the newest `most` ids."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._ids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, identifier: object) -> bool:
        return identifier in self._ids

    def add(self, identifier: str) -> None:
        """It is met now; the oldest makes room for it."""
        self._ids[identifier] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def discard(self, identifier: str) -> None:
        """As if it had never come."""
        self._ids.pop(identifier, None)
