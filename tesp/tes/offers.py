"""What the backends are configured to take, and which of them a task may run on. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tesp.tes.needs import Needs
from tesp.tes.tags import has

PARAMETER = "pulsar"
"""The backend parameter that names the Pulsar to run on."""


@dataclass(frozen=True, slots=True)
class Size:
    """The largest task of one kind. None: whatever it asks for."""

    cpus: float | None = None
    ram_bytes: int | None = None

    def holds(self, needs: Needs) -> bool:
        """Whether a task is that small."""
        cpus = self.cpus is None or needs.cpus <= self.cpus
        return cpus and (self.ram_bytes is None or needs.ram_bytes <= self.ram_bytes)


@dataclass(frozen=True, slots=True)
class Offer:
    """The tasks that one backend takes; `name` is what its operator calls it.

    `preemptible`: whether it takes preemptible tasks, or nothing else.
    """

    name: str
    sizes: tuple[Size, ...] = (Size(),)
    zones: frozenset[str] = frozenset()
    preemptible: bool | Literal["only"] = True


@dataclass(frozen=True, slots=True)
class Route:
    """Tasks with a tag (of this value, where one is given) run on these backends alone."""

    tag: str
    value: str | None
    names: frozenset[str]

    def matches(self, tags: Mapping[str, str]) -> bool:
        """Whether the rule is for a task with these tags."""
        return has(tags, self.tag, self.value)


@dataclass(frozen=True, slots=True)
class Offers:
    """All backends of a service. Zones count where any backend has one."""

    all: tuple[Offer, ...] = ()
    routes: tuple[Route, ...] = ()

    def takers(self, needs: Needs, tags: Mapping[str, str]) -> frozenset[str]:
        """The names of the backends that a task may run on, in health or not."""
        allowed = self.routed(tags)
        takers = (o for o in self.all if allowed is None or o.name in allowed)
        return frozenset(o.name for o in takers if self._takes(o, needs))

    def routed(self, tags: Mapping[str, str]) -> frozenset[str] | None:
        """The backends that the first rule for these tags names, None where there is none."""
        return next((r.names for r in self.routes if r.matches(tags)), None)

    def known_zones(self) -> frozenset[str]:
        """Every zone that a backend is in."""
        return frozenset(z for offer in self.all for z in offer.zones)

    def _takes(self, offer: Offer, needs: Needs) -> bool:
        return (
            any(size.holds(needs) for size in offer.sizes)
            and needs.parameters.get(PARAMETER) in (None, offer.name)
            and self._is_zone(offer, needs.zones)
            and offer.preemptible in ((True, "only") if needs.preemptible else (True, False))
        )

    def _is_zone(self, offer: Offer, zones: Sequence[str]) -> bool:
        return not zones or not self.known_zones() or bool(offer.zones.intersection(zones))


def largest(sizes: Iterable[Size]) -> Size:
    """The most that any of the sizes has of each."""
    listed = list(sizes)
    cpus = [s.cpus for s in listed if s.cpus is not None]
    ram = [s.ram_bytes for s in listed if s.ram_bytes is not None]
    whole = len(listed) or -1
    return Size(max(cpus) if len(cpus) == whole else None, max(ram) if len(ram) == whole else None)
