"""What listens on the bus within the service: triggers, and the control topic."""

from collections.abc import Callable, Container, Coroutine, Sequence
from typing import Any

from tesp.agents.bus_sink import BusSink
from tesp.agents.control import Control
from tesp.agents.listening import Listener, listen
from tesp.agents.triggers import triggers_of
from tesp.app.sinks import Held, bus_projection
from tesp.bus import Bus
from tesp.settings import Settings
from tesp.store import Store
from tesp.store.admission import Admission


def listeners_of(settings: Settings, store: Store, admission: Admission) -> list[Listener]:
    """Who listens; raises SettingsError."""
    found = [one.listener() for one in triggers_of(settings.triggers, store, admission)]
    if settings.control.enabled:
        found.append(Control(settings.control, settings.bus.prefix, store, admission).listener())
    return found


def listening(
    settings: Settings,
    held: Held,
    listeners: Sequence[Listener],
    buses: Sequence[Bus],
    known: Container[str],
) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    """What is to run for ever, in one process at a time. Where the bus is within the process,
    that one feeds it, and only then."""
    if not listeners:
        return []
    inner = BusSink(buses[0], bus_projection(settings))
    then = None if settings.bus.brokers else lambda: held.feeder(inner)

    async def work() -> None:
        await listen(listeners, buses, then, known)

    return [work]
