"""The certificate with which the service answers https."""

import ssl
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tesp.cli.doctor.findings import Finding, fail, ok, warn
from tesp.settings import ServerSettings, Settings

_SOON_SECONDS = 14 * 86400
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_WHATEVER_THE_TIME = 0x200000
_WHAT = "server certificate"


async def certificate_findings(settings: Settings) -> Sequence[Finding]:
    """The one of the settings, where there is one."""
    server = settings.server
    return [certificate_finding(server, time.time())] if server.certificate else []


def certificate_finding(server: ServerSettings, now: float) -> Finding:
    """Whether it can be read, its key belongs to it, and it is valid, for a while yet."""
    assert server.certificate is not None
    key = server.certificate_key
    for name, path in (("certificate", server.certificate), ("certificate_key", key)):
        if path is not None and (reason := _unreadable(path)):
            mend = f"Let this user read it, or mend server.{name}."
            return fail(_WHAT, f"{path}: {reason}", mend)
    try:
        begins, ends = _validity(server.certificate, key)
    except ssl.SSLError as error:
        return _unfit(server.certificate, key, error)
    return _current(server.certificate, begins, ends, now)


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return error.strerror or str(error)


def _unfit(certificate: Path, key: Path | None, error: ssl.SSLError) -> Finding:
    if error.reason == "KEY_VALUES_MISMATCH":
        found = f"the key in {key or certificate} is not that of {certificate}"
        return fail(_WHAT, found, "Mend server.certificate_key.")
    mend = (
        "Mend server.certificate, a PEM file, first the certificate, then its chain; and "
        "server.certificate_key, a PEM file without a password, unless the key is in the same."
    )
    return fail(_WHAT, f"{certificate} with its key cannot be used: {error}", mend)


def _validity(certificate: Path, key: Path | None) -> tuple[float, float]:
    """From when until when it is valid, as clients see it; raises SSLError."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # An empty password: a key that is encrypted is refused, and nobody is asked.
    server.load_cert_chain(certificate, key, password="")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_WHATEVER_THE_TIME)
    client.load_verify_locations(certificate)
    shown = _shown(server, client)
    begins, ends = str(shown["notBefore"]), str(shown["notAfter"])
    return ssl.cert_time_to_seconds(begins), ssl.cert_time_to_seconds(ends)


def _shown(server: ssl.SSLContext, client: ssl.SSLContext) -> dict[str, object]:
    """The certificate that a client gets, in a handshake within memory."""
    there, here = ssl.MemoryBIO(), ssl.MemoryBIO()
    looking = client.wrap_bio(here, there)
    waiting = [looking, server.wrap_bio(there, here, server_side=True)]
    while waiting:
        party = waiting.pop(0)
        try:
            party.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(party)
    return dict(looking.getpeercert() or {})


def _current(certificate: Path, begins: float, ends: float, now: float) -> Finding:
    if now < begins:
        mend = "Set the clock of this machine, or mend server.certificate."
        return fail(_WHAT, f"{certificate} is not valid before {_moment(begins)}", mend)
    if now > ends:
        mend = "Renew server.certificate, and start tesp anew: clients refuse it."
        return fail(_WHAT, f"{certificate} has expired: {_moment(ends)}", mend)
    if now > ends - _SOON_SECONDS:
        mend = "Renew server.certificate, and start tesp anew."
        return warn(_WHAT, f"{certificate} expires soon: {_moment(ends)}", mend)
    return ok(_WHAT, f"{certificate}, until {_moment(ends)}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
