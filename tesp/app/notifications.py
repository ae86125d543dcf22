"""Who is notified: a sink for each rule of the settings and each of its receivers."""

import hashlib
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tesp.agents import Sink
from tesp.agents.notifications import Notifier
from tesp.agents.notifications.mail import MailNotifier
from tesp.agents.notifications.sink import NotificationSink, NotificationStore
from tesp.agents.notifications.sms import SmsNotifier
from tesp.agents.notifications.writing import Writing
from tesp.bus.mail_server import MailServer
from tesp.settings import NotificationSettings, Settings

_DIGITS = 8


def notification_sinks(
    settings: Settings, store: NotificationStore, stack: AsyncExitStack
) -> Sequence[Sink]:
    """The sinks of all rules; what they send over is closed with the stack."""
    notifiers = _notifiers(settings.notifications)
    for notifier in notifiers.values():
        stack.push_async_callback(notifier.close)
    writing = Writing(settings.server.public_url)
    return [
        NotificationSink(
            _name(way, rule.name, receiver), rule, receiver, notifiers[way], writing, store
        )
        for rule in settings.notifications.rules
        for way, receivers in (("mail", rule.email), ("sms", rule.sms))
        for receiver in receivers
    ]


def _name(way: str, rule: str, receiver: str) -> str:
    """Everybody may read the names of sinks, but not who is told."""
    return f"{way}:{rule}:{hashlib.sha256(receiver.encode()).hexdigest()[:_DIGITS]}"


def _notifiers(settings: NotificationSettings) -> dict[str, Notifier]:
    """The ways that there are, by their names."""
    ways: dict[str, Notifier] = {}
    if settings.mail is not None:
        ways["mail"] = MailNotifier(MailServer.of(settings.mail), settings.mail.sender)
    if settings.sms is not None:
        ways["sms"] = SmsNotifier(settings.sms)
    return ways
