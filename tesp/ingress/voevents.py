"""VOEvents in, from authors and from brokers, as the settings ask for it."""

import time
from collections.abc import Callable
from pathlib import Path

from tesp.ingress import Deliver, Ingress
from tesp.ingress.broadcaster import Broadcaster
from tesp.ingress.intake import Intake
from tesp.ingress.receiver import Receiver
from tesp.ingress.subscriber import Subscriber
from tesp.settings.ingress import VoeventSettings


class VoeventIngress:
    """One intake for all ways in, so that an event that comes by two of them comes once."""

    def __init__(
        self,
        settings: VoeventSettings,
        prefix: str,
        deliver: Deliver,
        file: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._intake = Intake(
            deliver,
            file,
            prefix,
            directory=settings.directory,
            remember_days=settings.remember_days,
            clock=clock,
        )
        self.receiver = Receiver(settings, self._intake) if settings.receive else None
        self.broadcaster = Broadcaster(settings) if settings.broadcast else None
        subscribers = [Subscriber(settings, one, self._intake) for one in settings.remotes]
        ways = [self.receiver, self.broadcaster, *subscribers]
        self._ways: list[Ingress] = [way for way in ways if way is not None]
        if self.broadcaster is not None:
            self._intake.tell(self.broadcaster.broadcast)

    async def start(self) -> None:
        """Listen and subscribe; raises SettingsError."""
        await self._intake.start()
        try:
            for way in self._ways:
                await way.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End all ways in, then the intake."""
        for way in self._ways:
            await way.close()
        await self._intake.close()
