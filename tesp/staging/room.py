"""Room on the disk of a workspace, as far as it is known beforehand."""

from typing import Self

from tesp.errors import DiskFull
from tesp.staging import Workspace


class Room:
    """What is left when all that is known to come has come."""

    def __init__(self, free_bytes: int | None) -> None:
        self._free = free_bytes

    @classmethod
    async def of(cls, workspace: Workspace) -> Self:
        """The room in a workspace now."""
        return cls(await workspace.free_bytes())

    def take(self, size: int) -> None:
        """Set room aside; DiskFull, before a byte moves, where there is not enough."""
        if self._free is None:
            return
        if size > self._free:
            raise DiskFull(
                f"{size} bytes are to come, and {self._free} are left on the disk of "
                "the workspace after the other inputs"
            )
        self._free -= size
