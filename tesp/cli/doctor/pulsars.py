"""The Pulsars: REST, the broker, and whether they reach this service."""

import asyncio
from collections.abc import Sequence

import httpx

from tesp.backends.pulsar.wire import managers_of
from tesp.cli.doctor.brokers import broker_findings
from tesp.cli.doctor.findings import Finding, fail, ok, variable, warn
from tesp.settings import PulsarSettings, Settings
from tesp.settings.urls import is_loopback

# The one whose protocol was measured.
_VERSION = "0.16.0"
_ANSWER_SECONDS = 5.0
_REFUSED = (401, 403)


async def pulsar_findings(settings: Settings) -> Sequence[Finding]:
    """Each Pulsar over each of its ways, then the way back to this service."""
    asked = (_findings(number, pulsar) for number, pulsar in enumerate(settings.pulsars))
    found = [finding for part in await asyncio.gather(*asked) for finding in part]
    if any(pulsar.needs_our_files for pulsar in settings.pulsars):
        found.append(await public_url_finding(settings))
    return found


async def _findings(number: int, pulsar: PulsarSettings) -> Sequence[Finding]:
    found = [await rest_finding(number, pulsar)] if pulsar.url else []
    return [*found, *(await broker_findings(number, pulsar) if pulsar.amqp_url else ())]


async def rest_finding(number: int, pulsar: PulsarSettings) -> Finding:
    """Whether it answers, takes the token, has the managers, and is of the version we know."""
    what, key = f"pulsar {pulsar.name}", f"pulsars.{number}"
    version = ""
    async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
        for manager in managers_of(pulsar):
            try:
                answer = await _health(client, pulsar, manager)
            except httpx.HTTPError as error:
                reason = str(error) or type(error).__name__
                mend = f"Start it, or mend {key}.url and the firewall between."
                return fail(what, f"{pulsar.url} cannot be reached: {reason}", mend)
            if (wrong := _wrong(what, key, manager, answer)) is not None:
                return wrong
            version = str(answer.json()["version"])
    return _known(what, f"{pulsar.url}", version)


async def _health(
    client: httpx.AsyncClient, pulsar: PulsarSettings, manager: str
) -> httpx.Response:
    token = {"private_token": pulsar.token.get_secret_value()} if pulsar.token else {}
    return await client.get(f"{pulsar.url}/managers/{manager}/healthz", params=token)


def _wrong(what: str, key: str, manager: str, answer: httpx.Response) -> Finding | None:
    if answer.status_code in _REFUSED:
        mend = f"Set {key}.token ({variable(f'{key}.token')}) to its private_token."
        return fail(what, "it refuses the token", mend)
    if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
        mend = f"Mend {key}.manager or {key}.classes, or add it to managers in its app.yml."
        return fail(what, f"it has no manager {manager}, or that does not work", mend)
    if not _tells_its_version(answer):
        mend = f"Mend {key}.url."
        return fail(what, f"what answers there is no Pulsar ({answer.status_code})", mend)
    return None


def _tells_its_version(answer: httpx.Response) -> bool:
    try:
        document = answer.json()
    except ValueError:
        return False
    return answer.is_success and isinstance(document, dict) and "version" in document


def _known(what: str, where: str, version: str) -> Finding:
    if version == _VERSION:
        return ok(what, f"{where}, version {version}")
    mend = f"tesp is tried with {_VERSION}: pip install pulsar-app=={_VERSION}"
    return warn(what, f"{where}, version {version}", mend)


async def public_url_finding(settings: Settings) -> Finding:
    """Whether Pulsars and nodes can reach this service, as far as can be told from here."""
    what, url = "public url", settings.server.reachable_url()
    if not settings.server.public_url and is_loopback(settings.server.host):
        mend = "Set server.public_url to an address of this service that Pulsars and nodes reach."
        return warn(what, f"{url} is reached from this machine alone", mend)
    try:
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as client:
            answer = await client.get(f"{url}/healthz")
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        mend = "Nothing to do where tesp does not run yet; else mend server.public_url."
        return warn(what, f"{url} cannot be reached: {reason}", mend)
    if not answer.is_success:
        mend = "Mend server.public_url, or the proxy there."
        return warn(what, f"{url}/healthz answers {answer.status_code}", mend)
    return ok(what, f"{url} answers")
