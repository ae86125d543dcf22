"""All settings of one process."""

import platform
from pathlib import Path

from pydantic import Field, model_validator

from tesp.settings.agents import AgentSettings
from tesp.settings.bus import BusSettings
from tesp.settings.execution import ContainerSettings, LocalSettings
from tesp.settings.ingress import IngressSettings
from tesp.settings.notifications import NotificationSettings
from tesp.settings.pulsars import PulsarSettings, RouteSettings
from tesp.settings.section import Distinct, Section
from tesp.settings.service import (
    BasicAuthSettings,
    DispatchSettings,
    LoggingSettings,
    OauthSettings,
    ServerSettings,
    StoreSettings,
)
from tesp.settings.shipped import MetricsSettings, PublisherSettings, VocabularySettings
from tesp.settings.storage import StagingSettings
from tesp.settings.triggers import ControlSettings, TriggerSettings
from tesp.settings.webhooks import HookSettings

# How routes call the local backend.
LOCAL = "local"


class Settings(Section):
    """All settings of one process."""

    data_dir: Path = Path("data")
    server: ServerSettings = ServerSettings()
    basic_auth: BasicAuthSettings = BasicAuthSettings()
    oauth: OauthSettings = OauthSettings()
    store: StoreSettings = StoreSettings()
    dispatch: DispatchSettings = DispatchSettings()
    local: LocalSettings = Field(default_factory=LocalSettings)
    pulsars: Distinct[PulsarSettings] = ()
    routes: tuple[RouteSettings, ...] = ()
    containers: ContainerSettings = ContainerSettings()
    staging: StagingSettings = StagingSettings()
    bus: BusSettings = BusSettings()
    webhooks: HookSettings = HookSettings()
    notifications: NotificationSettings = NotificationSettings()
    ingress: IngressSettings = IngressSettings()
    triggers: Distinct[TriggerSettings] = ()
    control: ControlSettings = ControlSettings()
    agents: AgentSettings = AgentSettings()
    metrics: MetricsSettings = MetricsSettings()
    publisher: PublisherSettings = PublisherSettings()
    vocabulary: VocabularySettings = VocabularySettings()
    logging: LoggingSettings = LoggingSettings()

    @model_validator(mode="after")
    def _names_are_clear(self) -> "Settings":
        if any(pulsar.name == LOCAL for pulsar in self.pulsars):
            raise ValueError(f"pulsars: {LOCAL} is the name of this machine's own backend")
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> "Settings":
        known = {pulsar.name for pulsar in self.pulsars} | ({LOCAL} if self.runs_locally else set())
        for number, route in enumerate(self.routes):
            if lost := [name for name in route.pulsars if name not in known]:
                there = ", ".join(sorted(known)) or "none"
                raise ValueError(f"routes.{number}.pulsars: no {lost[0]}; there are: {there}")
        return self

    @model_validator(mode="after")
    def _routes_are_reached(self) -> "Settings":
        """The first that fits a task decides."""
        for number, route in enumerate(self.routes):
            for earlier, other in enumerate(self.routes[:number]):
                if other.tag == route.tag and other.value in (None, route.value):
                    raise ValueError(
                        f"routes.{number}: routes.{earlier} takes all of its tasks: put this one "
                        "before it, or remove one of them"
                    )
        return self

    @property
    def runs_locally(self) -> bool:
        """Whether this machine runs tasks; unless it is said, only where no Pulsar does."""
        return self.local.enabled if self.local.enabled is not None else not self.pulsars

    def machine_id(self) -> str:
        """What tells this machine from others that share the store."""
        if self.local.machine_id:
            return self.local.machine_id
        known = Path("/etc/machine-id")
        return (known.read_text().strip() if known.exists() else "") or platform.node()
