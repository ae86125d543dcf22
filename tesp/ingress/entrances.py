"""The ways in that the settings ask for."""

from collections.abc import Sequence
from pathlib import Path

from tesp.bus import brokers
from tesp.ingress import Deliver, Ingress
from tesp.settings import Settings


def mails_file(settings: Settings) -> Path:
    """Where it is kept what became of mails."""
    return _home(settings) / "mails.sqlite"


def _home(settings: Settings) -> Path:
    return settings.data_dir / "ingress"


def of(settings: Settings, version: str, deliver: Deliver) -> Sequence[Ingress]:
    """Each to be started; what they remember lies in the data directory. Webhooks are a route of
    the API: `tesp.ingress.webhook.route`."""
    ingress = settings.ingress
    found: list[Ingress] = []
    if ingress.smtp.enabled:
        from tesp.ingress.mail import Reading
        from tesp.ingress.smtp import SmtpIngress

        producer = brokers.producer(settings.bus, version)
        excluded = frozenset(ingress.smtp.excluded_types)
        reading = Reading(settings.bus.prefix, producer, excluded)
        found.append(SmtpIngress(ingress.smtp, reading, deliver, mails_file(settings)))
    if ingress.voevent.is_open:
        from tesp.ingress.voevents import VoeventIngress

        prefix = settings.bus.prefix
        found.append(
            VoeventIngress(ingress.voevent, prefix, deliver, _home(settings) / "events.sqlite")
        )
    return found
