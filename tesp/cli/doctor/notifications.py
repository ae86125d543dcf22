"""The mail server and the SMS gateway: whether they let us in. Nothing is sent."""

import asyncio
import contextlib
import ssl
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from tesp.bus.mail_server import MailServer
from tesp.cli.doctor.findings import Finding, fail, ok
from tesp.errors import BusRefused, BusUnavailable, SettingsError
from tesp.settings import MailSettings, Settings, SmsSettings

_ANSWER_SECONDS = 5.0


async def notification_findings(settings: Settings) -> Sequence[Finding]:
    """Those that the settings name."""
    mail, sms = settings.notifications.mail, settings.notifications.sms
    found = [await mail_finding(mail)] if mail else []
    return [*found, await sms_finding(sms)] if sms else found


async def mail_finding(mail: MailSettings) -> Finding:
    """Whether the server is there, speaks TLS as it should, and takes the login."""
    what, key = f"mail server {mail.host}:{mail.reached_port}", "notifications.mail"
    try:
        server = replace(MailServer.of(mail), timeout_seconds=_ANSWER_SECONDS)
        await asyncio.to_thread(server.look)
    except SettingsError as error:
        return fail(what, str(error), f"Mend {key}.ca_file.")
    except BusUnavailable as error:
        return fail(what, str(error), f"Start it, or mend {key}.host and .port and the firewall.")
    except BusRefused as error:
        mend = f"Mend {key}.username and .password, .security or .ca_file, as it says."
        return fail(what, str(error), mend)
    entry = f"as {mail.username}" if mail.username else "without a login"
    return ok(what, f"lets us in {entry} ({mail.security})")


async def sms_finding(sms: SmsSettings) -> Finding:
    """Whether the gateway can be connected to; what its token opens, only an SMS shows."""
    parts = urlsplit(sms.url)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    what = f"sms gateway {parts.hostname}:{port}"
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure or None)
    except ssl.SSLError as error:
        return fail(what, f"no TLS with it: {error}", "Mend notifications.sms.url, or its TLS.")
    except OSError as error:
        # A timeout says nothing.
        reason = error.strerror or str(error) or "no answer"
        mend = "Mend notifications.sms.url and the firewall between."
        return fail(what, f"cannot be reached: {reason}", mend)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ok(what, "reachable")
