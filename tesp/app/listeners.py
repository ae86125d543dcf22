"""What listens on the bus within the service: triggers, and the control topic."""

from collections.abc import Awaitable, Sequence

from tesp.agents.bus_sink import BusSink
from tesp.agents.control import Control
from tesp.agents.listening import Listener, listen
from tesp.agents.tenure import Tenure
from tesp.agents.triggers import triggers_of
from tesp.app.sinks import Held, bus_projection
from tesp.bus import Bus
from tesp.settings import Settings
from tesp.store import Store
from tesp.store.admission import Admission

_LEASE = "listeners"


def listeners_of(settings: Settings, store: Store, admission: Admission) -> list[Listener]:
    """Who listens; raises SettingsError."""
    found = [one.listener() for one in triggers_of(settings.triggers, store, admission)]
    if settings.control.enabled:
        found.append(Control(settings.control, settings.bus.prefix, store, admission).listener())
    return found


def listening(
    settings: Settings, held: Held, listeners: Sequence[Listener], buses: Sequence[Bus]
) -> list[Awaitable[None]]:
    """What is to run for ever: one process at a time listens. Where the bus is within the
    process, that one feeds it, and only then."""
    if not listeners:
        return []
    inner = BusSink(buses[0], bus_projection(settings))
    then = None if settings.bus.brokers else lambda: held.feeder(inner)

    async def work() -> None:
        await listen(listeners, buses, then)

    return [Tenure(held.store, _LEASE, held.holder, held.lease_seconds).work(work)]
