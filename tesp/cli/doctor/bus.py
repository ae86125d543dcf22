"""The brokers of the bus: whether they let us in, and take what we publish. No event is sent."""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from tesp import __version__
from tesp.bus import Message, brokers, prodiguer, tael
from tesp.bus.mail_server import trusting
from tesp.cli.doctor.findings import ANSWER_SECONDS, Finding, fail, ok, variable
from tesp.errors import BusError, BusRefused, BusUnavailable, SettingsError
from tesp.events import Event
from tesp.settings import BrokerSettings, BusSettings, Settings
from tesp.tes.states import State

# Mirrors of messages leave out what has `test` in its topic.
_PIPELINE = "doctor-test"

# Tries whether a message could be published, and nobody gets it; raises BusError or TimeoutError.
Attempt = Callable[[Message], Awaitable[None]]


async def bus_findings(settings: Settings) -> Sequence[Finding]:
    """Each broker, all at once."""
    bus = settings.bus
    asked = (broker_finding(number, bus) for number in range(len(bus.brokers)))
    return await asyncio.gather(*asked)


async def broker_finding(number: int, bus: BusSettings) -> Finding:
    """Whether it is there, is to be trusted, takes the login, and permits what we publish."""
    broker, key = bus.brokers[number], f"bus.brokers.{number}"
    what = f"broker {broker.name}"
    try:
        if broker.ca_file:
            trusting(broker.ca_file)
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(ANSWER_SECONDS):
                attempt = await stack.enter_async_context(_entered(broker))
            return await _publishing_finding(what, key, broker, bus, attempt)
    except SettingsError as error:
        return fail(what, str(error), f"Mend {key}.ca_file.")
    except (BusUnavailable, TimeoutError) as error:
        reason = str(error) or f"{broker.host}:{broker.port} gives no answer"
        return fail(what, reason, _mend_of_distance(key, broker))
    except BusRefused as error:
        return fail(what, str(error), _mend_of_entry(key, error))


def _entered(broker: BrokerSettings) -> AbstractAsyncContextManager[Attempt]:
    """A connection by our own clients; only who has such a broker waits for their import."""
    if _is_amqp(broker):
        from tesp.cli.doctor.over_amqp import entered
    else:
        from tesp.cli.doctor.over_mqtt import entered
    return entered(broker)


def _mend_of_distance(key: str, broker: BrokerSettings) -> str:
    url = f"{key}.url"
    # Brokers that do not speak the newer one hang up.
    place = f"{url}, {key}.version" if broker.version == "5" else url
    return f"Start it, or mend {place} and the firewall between."


def _mend_of_entry(key: str, error: BusRefused) -> str:
    if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)):
        return f"Set {key}.ca_file to who signed its certificate, or mend the host in {key}.url."
    login = f"{key}.username and {key}.password ({variable(f'{key}.password')})"
    return f"Mend {login}, or else what it names."


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


async def _publishing_finding(
    what: str, key: str, broker: BrokerSettings, bus: BusSettings, attempt: Attempt
) -> Finding:
    user = broker.username or ("guest" if _is_amqp(broker) else "")
    try:
        await attempt(_message(bus))
    except (BusError, TimeoutError) as error:
        silent = "it says nothing to what we publish, as some do where that is not permitted"
        mend = f"Let {user or 'nameless users'} {_right(broker, bus)}; or mend {key}.username."
        return fail(what, str(error) or silent, mend)
    entry = f"as {user}" if user else "without a login"
    return ok(what, f"{broker.host}:{broker.port} lets us in {entry}, and takes what we publish")


def _right(broker: BrokerSettings, bus: BusSettings) -> str:
    if _is_amqp(broker):
        exchange = f"the exchange {broker.exchange}"
        return f"write to {exchange}, and configure it where it is not there yet (rabbitmqctl)"
    return f"write to {tael.every_status_topic(bus.prefix)}"


def _is_amqp(broker: BrokerSettings) -> bool:
    return broker.scheme.startswith("amqp")


def _message(bus: BusSettings) -> Message:
    """What a task's event would be."""
    event = Event("doctor", 1, State.UNKNOWN, time.time(), "doctor", 1, _PIPELINE)
    return prodiguer.message(event, bus.prefix, brokers.producer(bus, __version__))
