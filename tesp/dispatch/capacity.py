"""What the backends have left, and whose turn it is. Pure bookkeeping, no I/O."""

from collections.abc import Iterable, Sequence

from tesp.backends import Capacity
from tesp.store import Candidate, Needs

PATIENCE = 16
"""How often others may pass an owner whose oldest task does not fit yet."""


class Ledger:
    """What one backend's running tasks use of its capacity."""

    def __init__(self, capacity: Capacity) -> None:
        self.capacity = capacity
        self._running: dict[str, Needs] = {}

    @property
    def free_slots(self) -> int:
        """Tasks that may still start."""
        return max(0, self.capacity.slots - len(self._running))

    @property
    def load(self) -> float:
        """The part of the slots that is taken."""
        return len(self._running) / self.capacity.slots if self.capacity.slots else 1.0

    def fits(self, needs: Needs) -> bool:
        """Whether a task may start now."""
        cpus = sum(n.cpus for n in self._running.values()) + needs.cpus
        ram = sum(n.ram_bytes for n in self._running.values()) + needs.ram_bytes
        has = self.capacity
        return self.free_slots > 0 and cpus <= has.cpus and ram <= has.ram_bytes

    def take(self, task_id: str, needs: Needs) -> None:
        """A task starts."""
        self._running[task_id] = needs

    def give(self, task_id: str) -> None:
        """A task has ended."""
        self._running.pop(task_id, None)


class Turns:
    """Round robin over owners: who was served longest ago comes first.

    Within an owner the oldest task comes first, and a task that does not fit holds its
    owner's younger ones back. Other owners may pass it, though only PATIENCE times: then
    nobody starts until it fits, so that a large task is never starved by small ones.
    """

    def __init__(self) -> None:
        self._clock = 0
        self._served: dict[str, int] = {}
        self._passed: dict[str, int] = {}

    def next(self, candidates: Sequence[Candidate], ledger: Ledger) -> Candidate | None:
        """The task to start now, None where none may."""
        for head in self._in_turn(candidates):
            if ledger.fits(head.needs):
                return head
            if self._passed.get(head.owner, 0) >= PATIENCE:
                return None
        return None

    def serve(self, chosen: Candidate, candidates: Sequence[Candidate]) -> None:
        """`chosen` has started: its owner goes to the end, those before it were passed."""
        for head in self._in_turn(candidates):
            if head.owner == chosen.owner:
                break
            self._passed[head.owner] = self._passed.get(head.owner, 0) + 1
        self._clock += 1
        self._served[chosen.owner] = self._clock
        self._passed.pop(chosen.owner, None)

    def _in_turn(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        heads = _heads(candidates).values()
        return sorted(heads, key=lambda h: (self._served.get(h.owner, 0), h.task_id))


def _heads(candidates: Iterable[Candidate]) -> dict[str, Candidate]:
    heads: dict[str, Candidate] = {}
    for candidate in candidates:
        heads.setdefault(candidate.owner, candidate)
    return heads
