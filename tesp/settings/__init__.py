"""Settings: typed, frozen, read once from settings.toml and TESP_* variables.

Sections of settings.toml inherit `[default]`; FASTAPI_PROFILE or TESP_ENV chooses one. A variable
overrides a key by its path: `TESP_STORE__MONGODB_URI`. An unknown key stops the start, with the
nearest right one named.
"""

from tesp.settings.agents import AgentSettings
from tesp.settings.bus import BrokerSettings, BusSettings
from tesp.settings.execution import ContainerSettings, LocalSettings, RegistrySettings
from tesp.settings.ingress import (
    IngressSettings,
    SmtpSettings,
    VoeventSettings,
    WebhookSettings,
)
from tesp.settings.notifications import (
    MailSettings,
    NotificationSettings,
    RuleSettings,
    SmsSettings,
)
from tesp.settings.pulsars import PulsarLimits, PulsarSettings, RouteSettings, SizeClass
from tesp.settings.reading import load, parse
from tesp.settings.selection import Selection
from tesp.settings.service import (
    BasicAuthSettings,
    DispatchSettings,
    LoggingSettings,
    OauthSettings,
    ServerSettings,
    StoreSettings,
)
from tesp.settings.shipped import (
    LimitSettings,
    MetricsSettings,
    PublisherSettings,
    PublishingRule,
    TermRule,
    VocabularySettings,
)
from tesp.settings.storage import FileRoot, HostAccess, S3Access, StagingSettings
from tesp.settings.triggers import ConditionSettings, ControlSettings, TriggerSettings
from tesp.settings.webhooks import HookSettings, TargetSettings
from tesp.settings.whole import LOCAL, Settings

__all__ = [
    "LOCAL",
    "AgentSettings",
    "BasicAuthSettings",
    "BrokerSettings",
    "BusSettings",
    "ConditionSettings",
    "ContainerSettings",
    "ControlSettings",
    "DispatchSettings",
    "FileRoot",
    "HookSettings",
    "HostAccess",
    "IngressSettings",
    "LimitSettings",
    "LocalSettings",
    "LoggingSettings",
    "MailSettings",
    "MetricsSettings",
    "NotificationSettings",
    "OauthSettings",
    "PublisherSettings",
    "PublishingRule",
    "PulsarLimits",
    "PulsarSettings",
    "RegistrySettings",
    "RouteSettings",
    "RuleSettings",
    "S3Access",
    "Selection",
    "ServerSettings",
    "Settings",
    "SizeClass",
    "SmsSettings",
    "SmtpSettings",
    "StagingSettings",
    "StoreSettings",
    "TargetSettings",
    "TermRule",
    "TriggerSettings",
    "VocabularySettings",
    "VoeventSettings",
    "WebhookSettings",
    "load",
    "parse",
]
