"""What listens on the bus within the service: triggers, and the control topic."""

import asyncio
from collections.abc import Awaitable, Sequence

from tesp.agents.control import Control
from tesp.agents.triggers import Triggers, triggers_of
from tesp.agents.turn import Turn
from tesp.bus import Bus
from tesp.settings import Settings
from tesp.store import Store
from tesp.store.admission import Admission


def listening(
    settings: Settings, store: Store, admission: Admission, buses: Sequence[Bus], holder: str
) -> list[Awaitable[None]]:
    """What is to run for ever: one process at a time listens. Raises SettingsError."""
    if not (settings.triggers or settings.control.enabled):
        return []
    triggers = Triggers(triggers_of(settings.triggers, store, admission), buses)
    control = Control(settings.control, settings.bus.prefix, store, admission)

    async def listen() -> None:
        parts: list[Awaitable[None]] = [triggers.run()] if settings.triggers else []
        if settings.control.enabled:
            parts.append(control.run(buses))
        await asyncio.gather(*parts)

    return [Turn(store, "listeners", holder, settings.dispatch.lease_seconds).run(listen)]
